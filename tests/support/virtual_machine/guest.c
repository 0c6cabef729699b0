// Copyright (c) 2026, the unikernel.fleet authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later


// All that runs in the test guest: process 1 of a Debian kernel. It loads the modules of its initrd, takes an address,
// answers HTTP on port 80, and misbehaves as the kernel's command line says:
//   fleet.ip=198.51.100.50/24  fleet.version=1
//   fleet.does=works | unhealthy | panics | powers_off | restarts | spins | hangs    fleet.after=SECONDS

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BUTTONS 4 // or whatever else is an input device

static char words[4096];

static const char *option(const char *name, const char *otherwise)
{
    static char value[256];
    const char *found = strstr(words, name);
    if (!found || found[strlen(name)] != '=')
        return otherwise;
    snprintf(value, sizeof value, "%s", found + strlen(name) + 1);
    value[strcspn(value, " \n")] = 0;
    return strdup(value);
}

static void load_modules(void)
{
    char names[32][256];
    int count = 0;
    DIR *folder = opendir("/modules");
    for (struct dirent *entry; folder && (entry = readdir(folder)) && count < 32;)
        if (entry->d_name[0] != '.')
            snprintf(names[count++], sizeof names[0], "%s", entry->d_name);
    qsort(names, count, sizeof names[0], (int (*)(const void *, const void *))strcmp);
    for (int i = 0; i < count; i++) {
        char path[sizeof names[0] + 16];
        snprintf(path, sizeof path, "/modules/%s", names[i]);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (syscall(SYS_finit_module, file, "", 0))
            printf("guest: %s: %m\n", path);
        close(file);
    }
}

static void set_address(const char *text)
{
    char address[64];
    unsigned length = 24;
    struct ifreq request = {.ifr_name = "eth0"};
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (sscanf(text, "%63[0-9.]/%u", address, &length) < 1)
        return;
    in->sin_family = AF_INET;
    inet_pton(AF_INET, address, &in->sin_addr);
    if (ioctl(s, SIOCSIFADDR, &request))
        printf("guest: no address: %m\n");
    in->sin_addr.s_addr = htonl(length ? ~0u << (32 - length) : 0);
    ioctl(s, SIOCSIFNETMASK, &request);
    ioctl(s, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    ioctl(s, SIOCSIFFLAGS, &request);
    close(s);
}

static int listening(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
    int yes = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(s, (struct sockaddr *)&any, sizeof any) || listen(s, 64))
        printf("guest: cannot listen: %m\n");
    return s;
}

static void answer(int connection, const char *version, int healthy)
{
    char request[2048] = "", text[64], reply[256];
    if (read(connection, request, sizeof request - 1) > 0) {
        int sick = !healthy && !strncmp(request, "GET /health", 11);
        int length = snprintf(text, sizeof text, "guest %s\n", version);
        int size = snprintf(reply, sizeof reply, "HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n%s",
                            sick ? "503 Service Unavailable" : "200 OK", length, text);
        if (write(connection, reply, size) < 0)
            printf("guest: %m\n");
    }
    close(connection);
}

static void misbehave(const char *does)
{
    printf("guest: %s\n", does);
    if (!strcmp(does, "panics"))
        _exit(1); // the kernel does not live without its first process
    if (!strcmp(does, "powers_off"))
        reboot(RB_POWER_OFF);
    if (!strcmp(does, "restarts"))
        reboot(RB_AUTOBOOT);
    if (!strcmp(does, "spins"))
        for (;;)
            ;
    for (;;)
        pause(); // hangs
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(void)
{
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, 0);
    mount("dev", "/dev", "devtmpfs", 0, 0);
    int console = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(console, i);
    setvbuf(stdout, 0, _IOLBF, 0);
    int file = open("/proc/cmdline", O_RDONLY);
    if (read(file, words, sizeof words - 1) < 0)
        printf("guest: no command line: %m\n");
    const char *version = option("fleet.version", "?"), *does = option("fleet.does", "works");
    double due = now() + atof(option("fleet.after", "0"));
    int normal = !strcmp(does, "works") || !strcmp(does, "unhealthy");
    load_modules();
    set_address(option("fleet.ip", ""));
    struct pollfd watched[1 + BUTTONS] = {{listening(), POLLIN, 0}};
    for (int i = 0; i < BUTTONS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        watched[1 + i] = (struct pollfd){open(path, O_RDONLY), POLLIN, 0};
    }
    printf("guest %s serves\n", version);
    for (;;) {
        if (!normal && now() >= due)
            misbehave(does);
        poll(watched, 1 + BUTTONS, normal ? -1 : 10);
        if (watched[0].revents)
            answer(accept(watched[0].fd, 0, 0), version, strcmp(does, "unhealthy"));
        for (int i = 1; i <= BUTTONS; i++) {
            struct input_event event;
            if (watched[i].revents & POLLIN && read(watched[i].fd, &event, sizeof event) == sizeof event &&
                event.type == EV_KEY && event.code == KEY_POWER)
                misbehave("powers_off");
        }
    }
}
