#ifndef PROXY_PROCESS_H
#define PROXY_PROCESS_H

/*
 * What a process has to do with the system around it: the user it runs as, the terminal it leaves,
 * the file that holds its id. For main(), before any thread is started.
 */

#include "base/err.h"

/*
 * Become the system user `name`, with its groups. Nothing when we are that user already.
 * Errors: ERR_BAD_SETTING (no such user, or we are not root).
 */
enum err process_become(const char *name, struct note *note) MUST_CHECK;

/*
 * Go on in a child in a session of its own. The parent waits until the child calls
 * process_detached() and then ends with status 0, or with `failed` when the child ends before.
 * Only the child returns. stdin and stdout are /dev/null; stderr stays until process_detached().
 * Errors: ERR_IO.
 */
enum err process_detach(int failed, struct note *note) MUST_CHECK;
void process_detached(void);

/*
 * Write our process id to `path`. A file with the id of a process that runs is left alone.
 *   replace   overwrite it all the same: we are about to take over from that process
 * Errors: ERR_IO; the note says which process runs.
 */
enum err process_pid_file(const char *path, int replace, struct note *note) MUST_CHECK;
/* Remove it, if it still holds our id. NULL is fine. */
void process_pid_file_remove(const char *path);

#endif
