/* Names in a setting: see topic_list.h. */

#include "replication/cdc/topic_list.h"

#include <string.h>

int topic_is_own(const char *topic)
{
    const char *dot = strchr(topic, '.');
    return dot != NULL && strncmp(dot, ".braid.", 7) == 0;
}

static int fits(const char *pattern, size_t n, const char *topic)
{
    if (pattern[n - 1] == '*') {
        return strncmp(pattern, topic, n - 1) == 0 && !topic_is_own(topic);
    }
    return strlen(topic) == n && memcmp(pattern, topic, n) == 0;
}

int topic_list_has(const char *list, const char *topic)
{
    for (const char *p = list; p != NULL && *p != '\0';) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if (n > 0 && fits(p, n, topic)) {
            return 1;
        }
        p += n;
    }
    return 0;
}
