#include "tb_index.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_BUCKETS 4

static void put(tb_index *index, uint32_t hash, int32_t value)
{
    uint32_t at = hash & index->mask;
    while (index->buckets[at].tags[TB_PLACES - 1]) /* there is room: half of all places are free */
        at = (at + 1) & index->mask;
    tb_bucket *bucket = &index->buckets[at];
    int place = 0;
    while (bucket->tags[place])
        place++;
    bucket->tags[place] = tb_index_tag(hash);
    bucket->values[place] = (uint16_t)value;
}

static void put_all(tb_index *index)
{
    memset(index->buckets, 0, ((size_t)index->mask + 1) * sizeof *index->buckets);
    for (int32_t value = 0; value < index->count; value++)
        put(index, index->hashes[value], value);
}

/* Twice as many buckets, of which half of the places stay free. */
static int grow(tb_index *index)
{
    const size_t buckets = index->buckets ? 2 * ((size_t)index->mask + 1) : LEAST_BUCKETS;
    tb_bucket *grown = aligned_alloc(sizeof *grown, buckets * sizeof *grown);
    uint32_t *hashes = realloc(index->hashes, buckets * (TB_PLACES / 2) * sizeof *hashes);
    if (hashes)
        index->hashes = hashes;
    if (!grown || !hashes) {
        free(grown);
        return 0;
    }
    free(index->buckets);
    index->buckets = grown;
    index->mask = (uint32_t)buckets - 1;
    put_all(index);
    return 1;
}

int tb_index_add(tb_index *index, uint32_t hash)
{
    const size_t room = index->buckets ? ((size_t)index->mask + 1) * (TB_PLACES / 2) : 0;
    if ((size_t)index->count == room && !grow(index))
        return 0;
    index->hashes[index->count] = hash;
    put(index, hash, index->count++);
    return 1;
}

void tb_index_cut(tb_index *index, int32_t keep)
{
    if (keep >= index->count)
        return;
    index->count = keep;
    put_all(index);
}

void tb_index_free(tb_index *index)
{
    free(index->buckets);
    free(index->hashes);
    memset(index, 0, sizeof *index);
}
