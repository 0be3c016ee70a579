/**
 * Part of addons that are built to be given away (prebuilt_addon, glibc): makes them load with an older glibc
 * than the one of the machine that builds them.
 *
 * A linker takes each function in its newest version. What moved into libc.so.6 with glibc 2.34 (threads,
 * dlopen) got a new version there, and so did `stat` in 2.33; the functions did not change, and each later
 * glibc still has the old names. CMakeLists.txt wraps them (`--wrap`): a call of NAME becomes one of
 * `__wrap_NAME`, which is here, and jumps to NAME in its oldest version. `npm run build:packages` prints what the
 * addon then needs, and fails above the limit (scripts/packages/addon.mjs).
 */
#include <features.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef __GLIBC__
#error "prebuilt_addon wraps functions of glibc; other C libraries have no versions of functions"
#endif

/* The first version of glibc on each architecture: sysdeps/unix/sysv/linux/.../shlib-versions. */
#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
/* What `stat` passed on to `__xstat` for the layout of its result: bits/stat.h, _STAT_VER, before 2.33. */
#define STAT_VERSION 1
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#define STAT_VERSION 0
#else
#error "the first glibc of this architecture is not known here"
#endif

/*
 * The arguments are passed on as they came: none of these functions takes more than four, all of them whole
 * numbers or pointers, and a register that holds none does no harm.
 */
typedef long Word;
#define OLD(name)                                                                                                                \
  extern Word old_##name(Word, Word, Word, Word);                                                                                \
  __asm__(".symver old_" #name ", " #name "@" OLDEST);                                                                           \
  Word __wrap_##name(Word a, Word b, Word c, Word d);                                                                            \
  Word __wrap_##name(Word a, Word b, Word c, Word d) { return old_##name(a, b, c, d); }

OLD(__pthread_key_create)
OLD(dladdr)
OLD(dlclose)
OLD(dlerror)
OLD(dlopen)
OLD(dlsym)
OLD(pthread_create)
OLD(pthread_detach)
OLD(pthread_getspecific)
OLD(pthread_join)
OLD(pthread_key_create)
OLD(pthread_key_delete)
OLD(pthread_once)
OLD(pthread_rwlock_destroy)
OLD(pthread_rwlock_init)
OLD(pthread_rwlock_rdlock)
OLD(pthread_rwlock_unlock)
OLD(pthread_rwlock_wrlock)
OLD(pthread_setspecific)

/* On 64-bit systems the names with and without 64 stand for one function, and one layout. */
struct stat;
#define OLD_STAT(name, old, Place)                                                                                               \
  extern int old(int version, Place place, struct stat* result);                                                                 \
  int __wrap_##name(Place place, struct stat* result);                                                                           \
  int __wrap_##name(Place place, struct stat* result) { return old(STAT_VERSION, place, result); }                               \
  int __wrap_##name##64(Place place, struct stat * result);                                                                      \
  int __wrap_##name##64(Place place, struct stat * result) { return old(STAT_VERSION, place, result); }

OLD_STAT(stat, __xstat, const char*)
OLD_STAT(lstat, __lxstat, const char*)
OLD_STAT(fstat, __fxstat, int)

/* New in 2.36, for std::random_device; the kernel's random numbers come from getentropy (2.25) as well. */
uint32_t __wrap_arc4random(void);
uint32_t __wrap_arc4random(void) {
  uint32_t number;
  if (getentropy(&number, sizeof number) != 0) abort();
  return number;
}

/*
 * New in 2.32: whether the process has one thread, so that libstdc++ may count references without atomic
 * instructions. Node has several: this is the answer for all of them, and it is never wrong.
 */
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
