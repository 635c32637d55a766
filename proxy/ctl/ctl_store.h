#ifndef PROXY_CTL_CTL_STORE_H
#define PROXY_CTL_CTL_STORE_H

#include "base/err.h"

/* Make stores in a new folder inside `folder`, measure them, print, remove them. Errors: ERR_IO. */
enum err ctl_store_bench(const char *folder, struct note *note) MUST_CHECK;

#endif
