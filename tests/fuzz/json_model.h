/* JSON the plain way: a text becomes a tree, and strings are resolved where somebody asks what they say. */
#ifndef TB_FUZZ_JSON_MODEL_H
#define TB_FUZZ_JSON_MODEL_H

#include "target.h"

#define FUZZ_DEEPEST 80        /* beyond this nothing is JSON for us */
#define FUZZ_SURELY_SHALLOW 60 /* the decoder's own limit is somewhere between the two */

typedef struct {
    enum { FUZZ_OBJECT, FUZZ_ARRAY, FUZZ_STRING, FUZZ_ESCAPED_STRING, FUZZ_NUMBER, FUZZ_LITERAL } type;
    uint32_t from, to; /* of a string: what is between the quotes */
    uint32_t next;     /* the node behind this one and all within it; members are key, value, key, value… */
} fuzz_node;

typedef struct {
    const uint8_t *text;
    uint32_t length, at;
    uint32_t count;
    int deepest;
    fuzz_node nodes[FUZZ_MAX_FRAME + 1]; /* every value is a byte at least, and most are more */
} fuzz_tree;

/* At most FUZZ_MAX_FRAME bytes. Is it one JSON value, in UTF-8? Then it is node 0. */
int fuzz_read_json(fuzz_tree *t, const uint8_t *text, size_t length);

int fuzz_is_string(const fuzz_node *n);
/* What a string says, or -1 for half a surrogate pair, or when there is no room. */
long fuzz_resolve(const fuzz_tree *t, const fuzz_node *string, uint8_t *out, size_t room);
/* Is it a string that says this? Texts of up to 63 bytes. */
int fuzz_says(const fuzz_tree *t, const fuzz_node *string, const char *text);
/* The values of an object's known members, or NULL. 0 when one is there twice. */
int fuzz_members(const fuzz_tree *t, uint32_t object, const char *const *names, int count, const fuzz_node **values);

#endif
