// base/log.h - one line, a component, key=value fields, to a sink that the embedding program supplied.
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/base.h"

typedef enum LogLevel { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE } LogLevel;

typedef struct Log {
    void (*sink)(void *user, LogLevel level, const char *component,
                 const char *line); ///< NULL: silent
    void *user;
    LogLevel level; ///< lines above it are not formatted
} Log;

/// `log` may be NULL.
void log_line(const Log *log, LogLevel level, const char *component, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
#define log_info(log, component, ...)  log_line((log), LOG_INFO, (component), __VA_ARGS__)
#define log_debug(log, component, ...) log_line((log), LOG_DEBUG, (component), __VA_ARGS__)
#endif
