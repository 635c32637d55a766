#ifndef NET_TLS_H
#define NET_TLS_H

/* Between tls.c and stream_tls.c only. */

#include <openssl/ssl.h>

#include "net/net.h"

SSL_CTX *tls_ssl_ctx(struct tls_context *tls);
int tls_verifies_host(const struct tls_context *tls);
const char *tls_reason(void); /* OpenSSL's first error of this thread; empties its queue */

#endif
