/* Who reads the shards for the change log. */

#include "proxy/control/cdc.h"

void cdc_sources_start(struct control *c)
{
    (void)c;
}

void cdc_sources_stop(struct control *c)
{
    (void)c;
}
