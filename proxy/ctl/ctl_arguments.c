/* The command line of braidctl: options anywhere, words in order. */

#include <string.h>

#include "proxy/ctl/ctl.h"

int ctl_is_integer(const char *text)
{
    text += *text == '-' || *text == '+';
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

static enum err add_change(struct ctl_arguments *a, int add, const char *text, struct note *note)
{
    if (a->changes_count == CTL_CHANGES_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d changes", CTL_CHANGES_MAX);
    }
    struct ring_change *change = &a->changes[a->changes_count++];
    return add ? ring_change_add(text, change, note) : ring_change_remove(text, change, note);
}

/* Store the value of an option that has one; *known 0: there is no such option. */
static enum err take_option(struct ctl_arguments *a, const char *name, const char *value,
                            int *known, struct note *note)
{
    static const char *const names[] = {"-c", "-d", "-U", "--type", "--add", "--remove"};
    size_t i = 0;
    while (i < sizeof(names) / sizeof(names[0]) && strcmp(name, names[i]) != 0) {
        i++;
    }
    *known = i < sizeof(names) / sizeof(names[0]);
    if (!*known) {
        return ERR_NONE;
    }
    if (value == NULL) {
        return note_set(note, ERR_BAD_SETTING, "%s needs a value; see braidctl --help", name);
    }
    switch (i) {
    case 0: a->path = value; return ERR_NONE;
    case 1: a->database = value; return ERR_NONE;
    case 2: a->user = value; return ERR_NONE;
    case 3: a->types = value; return ERR_NONE;
    default: return add_change(a, i == 4, value, note);
    }
}

static enum err add_word(struct ctl_arguments *a, const char *word, struct note *note)
{
    if (a->words_count == CTL_WORDS_MAX) {
        return note_set(note, ERR_TOO_BIG, "more than %d words", CTL_WORDS_MAX);
    }
    a->words[a->words_count++] = word;
    return ERR_NONE;
}

enum err ctl_arguments_read(int argc, char **argv, struct ctl_arguments *a, struct note *note)
{
    int only_words = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        int known = 0;
        enum err e = ERR_NONE;
        if (!only_words && strcmp(arg, "--") == 0) {
            only_words = 1;
            continue;
        }
        if (only_words || arg[0] != '-' || ctl_is_integer(arg)) {
            e = add_word(a, arg, note);
            known = 1;
        } else if (strcmp(arg, "--force") == 0) {
            a->force = 1;
            known = 1;
        } else if (strcmp(arg, "--commit") == 0 || strcmp(arg, "--abort") == 0) {
            a->commit |= arg[2] == 'c';
            a->abort |= arg[2] == 'a';
            known = 1;
        } else if (strcmp(arg, "--live") == 0) {
            a->live = 1;
            known = 1;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            a->words[0] = "help";
            a->words_count = 1;
            return ERR_NONE;
        } else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
            a->words[0] = "version";
            a->words_count = 1;
            return ERR_NONE;
        } else {
            e = take_option(a, arg, i + 1 < argc ? argv[i + 1] : NULL, &known, note);
            i += known;
        }
        if (!e && !known) {
            e = note_set(note, ERR_BAD_SETTING, "unknown option %s; see braidctl --help", arg);
        }
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}
