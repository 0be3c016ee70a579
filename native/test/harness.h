// A few lines in place of a test framework: named tests, checks that say where they failed, a report in TAP
// (testanything.org).
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace test {

struct Test {
  std::string name;
  std::function<void()> run;
};

std::vector<Test> &tests();

struct Register {
  Register(std::string name, std::function<void()> run) { tests().push_back({std::move(name), std::move(run)}); }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(bool condition, const char *text, const char *file, int line) {
  if (!condition) {
    throw Failure(std::string(text) + " (" + file + ":" + std::to_string(line) + ")");
  }
}

}  // namespace test

#define CHECK(condition) ::test::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define TEST_JOIN_2(prefix, line) prefix##line
#define TEST_JOIN(prefix, line) TEST_JOIN_2(prefix, line)
#define TEST(name)                                                                                                \
  static void TEST_JOIN(test_at_line_, __LINE__)();                                                               \
  static const ::test::Register TEST_JOIN(register_at_line_, __LINE__)(name, TEST_JOIN(test_at_line_, __LINE__)); \
  static void TEST_JOIN(test_at_line_, __LINE__)()
