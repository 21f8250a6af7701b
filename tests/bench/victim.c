/* Copyright (c) 2026, the faultline.selfheal maintainers
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The service that is killed and hung: answers within a millisecond of its exec, so that what is measured is the healer's share.
 *
 *   victim PORT answer|silent [PIDFILE]    in the foreground; silent: accepts, and says nothing
 *   victim -d PORT answer|silent PIDFILE   goes into the background, for healers that start by script
 *   victim --stop PIDFILE                  kills what the pidfile names
 *
 * Where systemd asks for it, it says READY=1, and WATCHDOG=1 twice in each WATCHDOG_USEC.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define HELD 256 /* so many silent connections are kept open; the oldest is closed for the next */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void note(const char *path, long pid) {
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%ld\n", pid) < 0 || fclose(file))
        fail(path);
}

static int stop(const char *path) {
    long pid = 0;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld", &pid) != 1 || pid < 2)
        fail(path);
    fclose(file);
    kill(pid, SIGKILL);
    return 0;
}

static int listening(int port) {
    int on = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (server < 0 || setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(server, (struct sockaddr *)&at, sizeof at)
        || listen(server, 4096))
        fail("listen");
    return server;
}

static void answer(int client) {
    static char in[4096], body[32], out[256];
    struct timeval patience = {1, 0};
    size_t have = 0;
    ssize_t got;
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    do {
        got = recv(client, in + have, sizeof in - 1 - have, 0);
        if (got > 0)
            in[have += got] = 0;
    } while (got > 0 && have < sizeof in - 1 && !strstr(in, "\r\n\r\n"));
    snprintf(body, sizeof body, "%d\n", getpid());
    int size = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                        strlen(body), body);
    send(client, out, size, MSG_NOSIGNAL);
    close(client);
}

static void tell(const char *word) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (!length || length >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, length);
    if (path[0] == '@')
        to.sun_path[0] = 0;
    int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify < 0 || sendto(notify, word, strlen(word), 0, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + length) < 0)
        fail(word);
    close(notify);
}

static void serve(int server, int silent) {
    const char *limit = getenv("WATCHDOG_USEC");
    int held[HELD], turn = 0, pause = limit ? atol(limit) / 2000 : -1;
    struct pollfd waiting = {.fd = server, .events = POLLIN};
    for (int i = 0; i < HELD; i++)
        held[i] = -1;
    tell("READY=1");
    for (;;) {
        if (poll(&waiting, 1, pause) == 0)
            tell("WATCHDOG=1");
        if (!(waiting.revents & POLLIN))
            continue;
        int client = accept(server, NULL, NULL);
        if (client < 0)
            continue;
        if (!silent) {
            answer(client);
            continue;
        }
        if (held[turn] >= 0)
            close(held[turn]);
        held[turn] = client;
        turn = (turn + 1) % HELD;
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "--stop"))
        return stop(argv[2]);
    int background = argc > 1 && !strcmp(argv[1], "-d");
    argc -= background, argv += background;
    if (argc < 3 || argc > 4 || (background && argc < 4)) {
        fprintf(stderr, "usage: victim [-d] PORT answer|silent [PIDFILE] | victim --stop PIDFILE\n");
        return 2;
    }
    int server = listening(atoi(argv[1]));
    if (background) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child) {
            note(argv[3], child);
            return 0;
        }
        setsid();
        if (!freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            return 1;
    } else if (argc == 4)
        note(argv[3], getpid());
    serve(server, !strcmp(argv[2], "silent"));
}
