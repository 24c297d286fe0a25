/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `leatd --keep`: a parent that runs the real daemon as its child where there is no systemd. It
 * speaks the service manager's notification protocol to it, holds the fds that the child stores,
 * and hands them to the next child when one dies. The child cannot tell it from systemd.
 */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

/*
 * Runs until the child has stopped cleanly or cannot be started; returns the exit status. argv is
 * the child's, argv[0] included, NULL at the end. runtime: the directory of the notify socket and
 * of the keeper's lock file; it exists.
 */
int keeper_run(const char *runtime, char *const argv[]);

#endif
