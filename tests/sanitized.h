/* sanitized.h: is this a build with the address sanitizer? It takes ten times as long, and has memory of its own. */
#ifndef KRAY_TESTS_SANITIZED_H
#define KRAY_TESTS_SANITIZED_H
#include <stdbool.h>
#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = true };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif
#else
enum { SANITIZED = false };
#endif
#endif
