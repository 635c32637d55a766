/* The rules file: words of a line into a rule. The formats are in hba.h. */

#include "conf/hba.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conf/hba_in.h"

enum {
    RULES_MAX = 100000,
    OWN_MAX = 1024
};

/* The rules while they are read. */
struct rules {
    struct conf_hba_rule *p;
    size_t count, cap;
    int files;
};

static const char EXAMPLE[] = "host all all 127.0.0.1/32 scram-sha-256";

/* ---- lists ----------------------------------------------------------------------------------- */

static enum err read_name(struct reader *r, const struct hba_word *w, int line, int users,
                          struct conf_hba_name *out)
{
    *out = (struct conf_hba_name){CONF_HBA_NAME, arena_strdup(r->keep, w->text), NULL};
    if (hba_word_is(w, "all")) {
        out->word = CONF_HBA_ALL;
    } else if (w->text[0] == '/' && w->text[1] != '\0') {
        out->word = CONF_HBA_REGEX;
        return regex_read(r, line, w->text + 1, &out->regex);
    } else if (!w->quoted && w->text[0] == '+') {
        return bad(r, line,
                   "%s stands for the members of a role, which pgbraid does not know; list the "
                   "users, or name a file with them as @users",
                   shown(r, w->text));
    } else if (!users && hba_word_is(w, "sameuser")) {
        out->word = CONF_HBA_SAMEUSER;
    } else if (!users && hba_word_is(w, "replication")) {
        out->word = CONF_HBA_REPLICATION;
    } else if (!users && (hba_word_is(w, "samerole") || hba_word_is(w, "samegroup"))) {
        return bad(r, line,
                   "%s stands for the members of a role, which pgbraid does not know; list the "
                   "databases, or write sameuser",
                   w->text);
    }
    return ERR_NONE;
}

static enum err read_list(struct reader *r, const struct hba_field *field, int line, int users,
                          struct conf_hba_name **out, size_t *count)
{
    *out = arena_alloc(r->keep, (field->count + 1) * sizeof((*out)[0]));
    *count = field->count;
    for (size_t i = 0; i < field->count; i++) {
        enum err e = read_name(r, &field->words[i], line, users, &(*out)[i]);
        if (e) {
            return e;
        }
    }
    return ERR_NONE;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static int parse_address(const char *text, struct conf_hba_net *out)
{
    if (inet_pton(AF_INET, text, out->address) == 1) {
        out->bytes = 4;
    } else if (inet_pton(AF_INET6, text, out->address) == 1) {
        out->bytes = 16;
    } else {
        return 0;
    }
    return 1;
}

static void mask_of_bits(unsigned bits, struct conf_hba_net *out)
{
    for (unsigned i = 0; i < out->bytes; i++) {
        unsigned here = bits < i * 8 ? 0 : (bits - i * 8 > 8 ? 8 : bits - i * 8);
        out->mask[i] = (uint8_t)(0xFF00U >> here);
    }
}

static enum err read_cidr(struct reader *r, int line, const char *text, char *slash,
                          struct conf_hba_net *out)
{
    *slash = '\0';
    int known = parse_address(text, out);
    *slash = '/';
    size_t digits = strspn(slash + 1, "0123456789");
    unsigned long bits = strtoul(slash + 1, NULL, 10);
    if (!known || digits == 0 || digits > 3 || slash[1 + digits] != '\0' ||
        bits > out->bytes * 8UL) {
        return bad(r, line, "%s is no network; write 10.0.0.0/8 or fd00::/8", shown(r, text));
    }
    mask_of_bits((unsigned)bits, out);
    return ERR_NONE;
}

/*
 * The address, in one field with its bits or in two with a mask.
 *   at  the next field; moves behind what was read
 */
static enum err read_address(struct reader *r, const struct hba_line *line, size_t *at,
                             struct conf_hba_rule *rule)
{
    int number = line->number;
    if (*at >= line->count) {
        return bad(r, number, "the line ends before its address; a rule is \"%s\"", EXAMPLE);
    }
    const struct hba_field *field = &line->fields[(*at)++];
    if (field->count != 1) {
        return bad(r, number, "a rule has one address; write a line for each");
    }
    const struct hba_word *w = &field->words[0];
    if (hba_word_is(w, "all")) {
        rule->where = CONF_HBA_ANYWHERE;
        return ERR_NONE;
    }
    if (hba_word_is(w, "samehost") || hba_word_is(w, "samenet")) {
        rule->where = hba_word_is(w, "samehost") ? CONF_HBA_SAMEHOST : CONF_HBA_SAMENET;
        return ERR_NONE;
    }
    rule->where = CONF_HBA_NET;
    char *text = arena_strdup(&r->scratch, w->text);
    char *slash = strchr(text, '/');
    if (slash != NULL) {
        return read_cidr(r, number, text, slash, &rule->net);
    }
    if (!parse_address(text, &rule->net)) {
        return bad(r, number,
                   "%s is no address, and host names are not looked up; write a network as "
                   "10.0.0.0/8, all, samehost or samenet",
                   shown(r, text));
    }
    struct conf_hba_net mask = {0};
    if (*at >= line->count || line->fields[*at].count != 1 ||
        !parse_address(line->fields[*at].words[0].text, &mask) || mask.bytes != rule->net.bytes) {
        return bad(r, number,
                   "behind the address %s no mask stands; write %s/%d for this one alone", text,
                   text, rule->net.bytes * 8);
    }
    memcpy(rule->net.mask, mask.address, sizeof(mask.address));
    (*at)++;
    return ERR_NONE;
}

/* ---- method and options ---------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum conf_auth_method method;
} methods[] = {
    {"trust", CONF_AUTH_TRUST},         {"reject", CONF_AUTH_REJECT},
    {"password", CONF_AUTH_PASSWORD},   {"md5", CONF_AUTH_MD5},
    {"scram-sha-256", CONF_AUTH_SCRAM}, {"cert", CONF_AUTH_CERT},
    {"peer", CONF_AUTH_PEER},
};

static enum err read_method(struct reader *r, const struct hba_line *line, size_t *at,
                            struct conf_hba_rule *rule)
{
    static const char KNOWN[] = "trust, reject, password, md5, scram-sha-256, cert or peer";
    if (*at >= line->count) {
        return bad(r, line->number, "the line ends before its method; write %s", KNOWN);
    }
    const struct hba_field *field = &line->fields[(*at)++];
    const char *name = field->words[0].text;
    if (strcmp(name, "ident") == 0 && rule->type == CONF_HBA_LOCAL) {
        name = "peer"; /* as PostgreSQL reads it for a unix socket */
    }
    size_t found = sizeof(methods) / sizeof(methods[0]);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, name) == 0) {
            found = i;
        }
    }
    if (field->count != 1 || found == sizeof(methods) / sizeof(methods[0])) {
        return bad(r, line->number, "method %s is not known here; write %s", shown(r, name), KNOWN);
    }
    rule->method = methods[found].method;
    if (rule->method == CONF_AUTH_PEER && rule->type != CONF_HBA_LOCAL) {
        return bad(r, line->number, "method peer works with local only; use cert, or a password");
    }
    if (rule->method == CONF_AUTH_CERT && rule->type != CONF_HBA_HOSTSSL) {
        return bad(r, line->number, "method cert works with hostssl only; write hostssl");
    }
    rule->clientcert =
        rule->method == CONF_AUTH_CERT ? CONF_CLIENTCERT_VERIFY_FULL : CONF_CLIENTCERT_NO;
    return ERR_NONE;
}

static enum err read_clientcert(struct reader *r, int line, const char *value,
                                struct conf_hba_rule *rule)
{
    if (rule->type != CONF_HBA_HOSTSSL) {
        return bad(r, line, "clientcert works with hostssl only; write hostssl");
    }
    if (strcmp(value, "verify-full") == 0) {
        rule->clientcert = CONF_CLIENTCERT_VERIFY_FULL;
    } else if (strcmp(value, "verify-ca") == 0) {
        if (rule->method == CONF_AUTH_CERT) {
            return bad(r, line,
                       "method cert compares names, so clientcert=verify-ca is too little; "
                       "leave it out");
        }
        rule->clientcert = CONF_CLIENTCERT_VERIFY_CA;
    } else {
        return bad(r, line, "clientcert is verify-ca or verify-full, not %s", shown(r, value));
    }
    return ERR_NONE;
}

static enum err read_option(struct reader *r, int line, const char *text,
                            struct conf_hba_rule *rule)
{
    const char *equal = strchr(text, '=');
    if (equal == NULL) {
        return bad(r, line, "option %s has no value; write name=value", shown(r, text));
    }
    const char *name = arena_strndup(&r->scratch, text, (size_t)(equal - text));
    const char *value = equal + 1;
    if (strcmp(name, "map") == 0) {
        if (rule->method != CONF_AUTH_CERT && rule->method != CONF_AUTH_PEER) {
            return bad(r, line, "map= belongs to the methods cert and peer; remove it");
        }
        rule->map = arena_strdup(r->keep, value);
        return ERR_NONE;
    }
    if (strcmp(name, "clientcert") == 0) {
        return read_clientcert(r, line, value, rule);
    }
    if (strcmp(name, "clientname") == 0) {
        rule->name_is_dn = strcmp(value, "DN") == 0;
        if (rule->type != CONF_HBA_HOSTSSL || (!rule->name_is_dn && strcmp(value, "CN") != 0)) {
            return bad(r, line, "clientname is CN or DN, on hostssl lines; remove it");
        }
        return ERR_NONE;
    }
    return bad(r, line, "option %s is not known; there are map, clientcert and clientname",
               shown(r, name));
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* `skip`: a rule for GSSAPI encryption, which no client of ours ever has. */
static enum err read_type(struct reader *r, const struct hba_line *line, struct conf_hba_rule *rule,
                          int *skip)
{
    static const struct {
        const char *name;
        enum conf_hba_type type;
    } types[] = {{"local", CONF_HBA_LOCAL},       {"host", CONF_HBA_HOST},
                 {"hostssl", CONF_HBA_HOSTSSL},   {"hostnossl", CONF_HBA_HOSTNOSSL},
                 {"hostnogssenc", CONF_HBA_HOST}, {"hostgssenc", CONF_HBA_HOST}};
    const char *name = line->fields[0].words[0].text;
    *skip = strcmp(name, "hostgssenc") == 0;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (line->fields[0].count == 1 && strcmp(types[i].name, name) == 0) {
            rule->type = types[i].type;
            return ERR_NONE;
        }
    }
    return bad(
        r, line->number,
        "a rule begins with local, host, hostssl or hostnossl, not with %s; a rule is \"%s\"",
        shown(r, name), EXAMPLE);
}

static enum err read_rule(struct reader *r, const struct hba_line *line, void *arg)
{
    struct rules *rules = arg;
    struct conf_hba_rule rule = {.line = line->number};
    int skip = 0;
    size_t at = 3;
    for (size_t i = 0; i < line->count; i++) {
        if (line->fields[i].count == 0) {
            return bad(r, line->number, "a file named with @ holds no word; add one to it");
        }
    }
    enum err e = read_type(r, line, &rule, &skip);
    if (e || skip) {
        return e;
    }
    if (line->count < 3) {
        return bad(r, line->number, "the line ends before its %s; a rule is \"%s\"",
                   line->count < 2 ? "database" : "user", EXAMPLE);
    }
    e = read_list(r, &line->fields[1], line->number, 0, &rule.databases, &rule.databases_count);
    e = e ? e : read_list(r, &line->fields[2], line->number, 1, &rule.users, &rule.users_count);
    if (e == ERR_NONE && rule.type != CONF_HBA_LOCAL) {
        e = read_address(r, line, &at, &rule);
    }
    e = e ? e : read_method(r, line, &at, &rule);
    for (; e == ERR_NONE && at < line->count; at++) {
        for (size_t i = 0; e == ERR_NONE && i < line->fields[at].count; i++) {
            e = read_option(r, line->number, line->fields[at].words[i].text, &rule);
        }
    }
    if (e == ERR_NONE && rules->count == RULES_MAX) {
        e = bad(r, line->number, "the file has more than %d rules; write lists", RULES_MAX);
    }
    if (e) {
        return e;
    }
    if (rules->count == rules->cap) {
        rules->cap = rules->cap == 0 ? 32 : rules->cap * 2;
        rules->p = mem_grow(rules->p, rules->cap * sizeof(rules->p[0]));
    }
    rules->p[rules->count++] = rule;
    return ERR_NONE;
}

/* ---- the addresses of this machine ------------------------------------------------------------
 */

static int take_sockaddr(const struct sockaddr *sa, uint8_t out[16])
{
    if (sa != NULL && sa->sa_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        return 4;
    }
    if (sa != NULL && sa->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

static void read_own(struct reader *r, struct conf_hba *hba)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        return; /* then nothing is the same host: rules that say so fit nobody */
    }
    hba->own = arena_zero(r->keep, OWN_MAX * sizeof(hba->own[0]));
    for (const struct ifaddrs *i = all; i != NULL && hba->own_count < OWN_MAX; i = i->ifa_next) {
        struct conf_hba_net *net = &hba->own[hba->own_count];
        int bytes = take_sockaddr(i->ifa_addr, net->address);
        if (bytes != 0 && take_sockaddr(i->ifa_netmask, net->mask) == bytes) {
            net->bytes = (uint8_t)bytes;
            hba->own_count++;
        }
    }
    freeifaddrs(all);
}

enum err hba_read(struct reader *r, const void *p, size_t n, int files)
{
    struct rules rules = {.files = files};
    enum err e = hba_lines(r, p, n, files, read_rule, &rules);
    if (e == ERR_NONE && rules.count == 0) {
        e = bad(r, 1, "the file has no rule, so nobody could log in; add \"%s\"", EXAMPLE);
    }
    if (e == ERR_NONE) {
        struct conf_hba *hba = arena_zero(r->keep, sizeof(*hba));
        hba->file = arena_strdup(r->keep, r->file);
        hba->rules = arena_alloc(r->keep, rules.count * sizeof(rules.p[0]));
        memcpy(hba->rules, rules.p, rules.count * sizeof(rules.p[0]));
        hba->rules_count = rules.count;
        for (size_t i = 0; i < rules.count; i++) {
            if (rules.p[i].where >= CONF_HBA_SAMEHOST && hba->own == NULL) {
                read_own(r, hba);
            }
        }
        r->conf->hba = hba;
    }
    mem_free(rules.p);
    return e;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int names_fit(const struct conf_hba_name *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_hba_name *n = &names[i];
        if (n->word == CONF_HBA_ALL || (n->word == CONF_HBA_NAME && strcmp(n->text, name) == 0) ||
            (n->word == CONF_HBA_REGEX && regex_matches(n->regex, name, NULL, NULL))) {
            return 1;
        }
    }
    return 0;
}

static int database_fits(const struct conf_hba_rule *rule, const struct conf_hba_client *c)
{
    for (size_t i = 0; i < rule->databases_count; i++) {
        enum conf_hba_word word = rule->databases[i].word;
        if ((word == CONF_HBA_REPLICATION && c->replication) ||
            (word == CONF_HBA_SAMEUSER && !c->replication && strcmp(c->database, c->user) == 0)) {
            return 1;
        }
    }
    return !c->replication && names_fit(rule->databases, rule->databases_count, c->database);
}

static int in_net(const struct conf_hba_net *net, const struct conf_hba_client *c, int whole)
{
    if (net->bytes != c->bytes) {
        return 0;
    }
    for (unsigned i = 0; i < net->bytes; i++) {
        unsigned mask = whole ? 0xFF : net->mask[i];
        if (((net->address[i] ^ c->address[i]) & mask) != 0) {
            return 0;
        }
    }
    return 1;
}

static int address_fits(const struct conf_hba *hba, const struct conf_hba_rule *rule,
                        const struct conf_hba_client *c)
{
    if (rule->where == CONF_HBA_ANYWHERE) {
        return 1;
    }
    if (rule->where == CONF_HBA_NET) {
        return in_net(&rule->net, c, 0);
    }
    for (size_t i = 0; i < hba->own_count; i++) {
        if (in_net(&hba->own[i], c, rule->where == CONF_HBA_SAMEHOST)) {
            return 1;
        }
    }
    return 0;
}

static int type_fits(const struct conf_hba_rule *rule, const struct conf_hba_client *c)
{
    if ((rule->type == CONF_HBA_LOCAL) != (c->bytes == 0)) {
        return 0;
    }
    return !(rule->type == CONF_HBA_HOSTSSL && !c->tls) &&
           !(rule->type == CONF_HBA_HOSTNOSSL && c->tls);
}

const struct conf_hba_rule *conf_hba_find(const struct conf_hba *hba,
                                          const struct conf_hba_client *client)
{
    for (size_t i = 0; i < hba->rules_count; i++) {
        const struct conf_hba_rule *rule = &hba->rules[i];
        if (type_fits(rule, client) &&
            (rule->type == CONF_HBA_LOCAL || address_fits(hba, rule, client)) &&
            database_fits(rule, client) &&
            names_fit(rule->users, rule->users_count, client->user)) {
            return rule;
        }
    }
    return NULL;
}
