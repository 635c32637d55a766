#ifndef CONF_HBA_H
#define CONF_HBA_H

/*
 * The rules file (auth.hba_file) and the maps (auth.ident_file), in the formats of PostgreSQL's
 * pg_hba.conf and pg_ident.conf. Immutable parts of a struct conf; any thread.
 *
 *     local    database user                 method [option=value ...]
 *     host     database user address [mask]  method [option=value ...]
 *     hostssl, hostnossl                     as host, with TLS only, without TLS only
 *
 * The first rule that fits a connection decides. What PostgreSQL knows and pgbraid does not (roles
 * of a group, host names, gss, ldap, pam ...) is an error of the file, never a rule that is
 * skipped.
 *
 * Source: PostgreSQL's documentation, "Client Authentication", and src/backend/libpq/hba.c for the
 * tokens: a quoted word loses its meaning as a keyword, "" inside quotes is a quote, a backslash at
 * the end of a line goes on in the next one.
 */

#include <stdint.h>

#include "base/buf.h"
#include "conf/conf.h"

enum conf_hba_type {
    CONF_HBA_LOCAL,
    CONF_HBA_HOST,
    CONF_HBA_HOSTSSL,
    CONF_HBA_HOSTNOSSL
};

enum conf_hba_word {
    CONF_HBA_NAME,
    CONF_HBA_ALL,
    CONF_HBA_SAMEUSER,
    CONF_HBA_REPLICATION,
    CONF_HBA_REGEX
};

struct conf_regex; /* POSIX extended; freed with the conf */

/* One word of a list of databases or users. */
struct conf_hba_name {
    enum conf_hba_word word;
    const char *text;
    const struct conf_regex *regex;
};

enum conf_hba_where {
    CONF_HBA_ANYWHERE,
    CONF_HBA_NET,
    CONF_HBA_SAMEHOST,
    CONF_HBA_SAMENET
};

struct conf_hba_net {
    uint8_t bytes; /* 4 or 16 */
    uint8_t address[16];
    uint8_t mask[16];
};

enum conf_clientcert {
    CONF_CLIENTCERT_NO,
    CONF_CLIENTCERT_VERIFY_CA,  /* a certificate that tls.client.ca signs */
    CONF_CLIENTCERT_VERIFY_FULL /* ... and its name is the user's, perhaps by a map */
};

struct conf_hba_rule {
    enum conf_hba_type type;
    struct conf_hba_name *databases;
    size_t databases_count;
    struct conf_hba_name *users;
    size_t users_count;
    enum conf_hba_where where;
    struct conf_hba_net net; /* CONF_HBA_NET */
    enum conf_auth_method method;
    const char *map; /* NULL: names must be equal */
    enum conf_clientcert clientcert;
    int name_is_dn; /* clientname=DN: the whole subject of the certificate, not its common name */
    int line;
};

struct conf_hba {
    const char *file;
    struct conf_hba_rule *rules;
    size_t rules_count;
    struct conf_hba_net *own; /* addresses of this machine when the file was read */
    size_t own_count;
};

/* Who asks. */
struct conf_hba_client {
    const char *database;
    const char *user;
    int replication; /* physical: the rules for "replication" hold, those for databases do not */
    int tls;         /* encrypted */
    uint8_t bytes;   /* of the address: 4, 16, or 0 for a unix socket */
    uint8_t address[16];
};

/* The first rule that fits; NULL: none, and the client is refused. */
const struct conf_hba_rule *conf_hba_find(const struct conf_hba *hba,
                                          const struct conf_hba_client *client);

/*
 * Whether `system`, the name in a certificate or of a process' owner, may be `user` by `map`.
 *   map   NULL: only when the names are equal
 *   ident NULL: no map is known
 * Never allocates more than a few hundred bytes; names longer than 1024 bytes fit nothing but
 * themselves.
 */
int conf_ident_maps(const struct conf_ident *ident, const char *map, const char *system,
                    const char *user);

#endif
