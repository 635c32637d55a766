#ifndef REPLICATION_CDC_TOPIC_LIST_H
#define REPLICATION_CDC_TOPIC_LIST_H

/*
 * A setting that names tables: "shop.public.users, shop.audit.*". A star at the end stands for
 * anything, but never for a topic of the database's own (DATABASE.braid.*). Pure.
 */

int topic_is_own(const char *topic);
/* list NULL: names none. */
int topic_list_has(const char *list, const char *topic);

#endif
