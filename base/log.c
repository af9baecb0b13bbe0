#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_line(const Log *log, LogLevel level, const char *component, const char *fmt, ...)
{
    if (!log || !log->sink || level > log->level) return;
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    log->sink(log->user, level, component, line);
}
