/* Where a name is, by its hash: up to 65,536 of them. Sixteen places are one cache line and are looked at in one go. A chain of single
 * places would end after one, two or three looks, which no processor guesses; and a table that has few lines stays in the caches. */
#ifndef TB_INDEX_H
#define TB_INDEX_H

#include <stdint.h>

#include "tb_types.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define TB_PLACES 16

typedef struct {
    _Alignas(64) uint16_t tags[TB_PLACES]; /* of the hash; 0: free, and so are all behind it */
    uint16_t values[TB_PLACES];
} tb_bucket;

typedef struct {
    tb_bucket *buckets; /* a power of two of them; NULL before the first name */
    uint32_t mask;
    int32_t count;
    uint32_t *hashes;   /* of each value, for when there will be more buckets */
} tb_index;

/* Where a search is. */
typedef struct {
    const tb_bucket *bucket;
    unsigned hits; /* places of it that have the tag and are still to be told */
    uint16_t tag;
} tb_search;

/* Adds the next value: they count from 0 on. 0 when memory is out, and nothing has changed. */
int tb_index_add(tb_index *index, uint32_t hash);
/* Forgets the values from `keep` on. */
void tb_index_cut(tb_index *index, int32_t keep);
void tb_index_free(tb_index *index);

TB_INLINE uint16_t tb_index_tag(uint32_t hash)
{
    const uint16_t tag = (uint16_t)(hash >> 16);
    return tag ? tag : 1;
}

/* The places of a bucket that have this tag, as bits. */
TB_INLINE unsigned tb_bucket_hits(const tb_bucket *bucket, uint16_t tag)
{
#if defined(__SSE2__)
    const __m128i *tags = (const __m128i *)(const void *)bucket->tags, wanted = _mm_set1_epi16((short)tag);
    const __m128i low = _mm_cmpeq_epi16(_mm_load_si128(tags), wanted), high = _mm_cmpeq_epi16(_mm_load_si128(tags + 1), wanted);
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));
#else
    unsigned hits = 0;
    for (unsigned i = 0; i < TB_PLACES; i++)
        hits |= (unsigned)(bucket->tags[i] == tag) << i;
    return hits;
#endif
}

/* Begins a search in an index that is not empty. */
TB_INLINE tb_search tb_index_search(const tb_index *index, uint32_t hash)
{
    const tb_bucket *bucket = &index->buckets[hash & index->mask];
    const uint16_t tag = tb_index_tag(hash);
    return (tb_search){bucket, tb_bucket_hits(bucket, tag), tag};
}

/* The next value whose name may be the one, or -1. */
TB_INLINE int32_t tb_index_next(const tb_index *index, tb_search *search)
{
    while (TB_UNLIKELY(!search->hits)) {
        if (search->bucket->tags[TB_PLACES - 1] == 0)
            return -1;
        search->bucket = &index->buckets[((uint32_t)(search->bucket - index->buckets) + 1) & index->mask];
        search->hits = tb_bucket_hits(search->bucket, search->tag);
    }
    const int place = __builtin_ctz(search->hits);
    search->hits &= search->hits - 1;
    return search->bucket->values[place];
}

#endif
