#include <csignal>
#include <cstdio>

#include "harness.h"

std::vector<test::Test> &test::tests() {
  static std::vector<Test> all;
  return all;
}

/// With arguments: only the tests whose names contain one of them.
int main(int argc, char **argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<test::Test> chosen;
  for (test::Test &candidate : test::tests()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; i++) {
      wanted = wanted || candidate.name.find(argv[i]) != std::string::npos;
    }
    if (wanted) {
      chosen.push_back(candidate);
    }
  }
  std::printf("TAP version 13\n1..%zu\n", chosen.size());
  int number = 0;
  int failed = 0;
  for (test::Test &current : chosen) {
    number++;
    try {
      current.run();
      std::printf("ok %d - %s\n", number, current.name.c_str());
    } catch (const std::exception &error) {
      failed++;
      std::printf("not ok %d - %s\n# %s\n", number, current.name.c_str(), error.what());
    }
    std::fflush(stdout);
  }
  return failed || chosen.empty() ? 1 : 0;
}
