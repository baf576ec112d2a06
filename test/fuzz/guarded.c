/*-------------------------------------------------------------------------
 *
 * guarded.c
 *	  Memory contexts that notice every byte beyond an allocation.
 *
 * palloc hands out pieces of larger blocks, where reading or writing too far goes
 * unnoticed, and address sanitizer does not see them.  Here each allocation
 * ends at a page that cannot be touched, and what is between the two, for
 * alignment, is looked at when it is freed.  The decoders' own contexts are
 * such, too: the Makefile puts guarded_create in the place of
 * AllocSetContextCreate.
 *
 * From PostgreSQL 16 on a module cannot bring a kind of context of its own: there
 * this file is left out.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "lib/ilist.h"
#include "nodes/memnodes.h"
#include "utils/memutils.h"

#include "fuzz.h"

#define PAGE 4096

/* Regions are kept for the next allocation: system calls are slow. */
#define KEPT_PAGES 16
#define KEPT_REGIONS 500

/* A process may have 65530 mappings, two for each region. */
#define MAX_REGIONS 25000

/* What fills memory that is new, is free, or belongs to nobody. */
#define FILLER 0x7f

typedef struct Guarded
{
	MemoryContextData header;	/* first: what PostgreSQL knows */
	dlist_head	chunks;
} Guarded;

typedef struct Chunk
{
	dlist_node	node;
	Size		size;
	Size		pages;			/* 0 = by malloc, there were too many */
	MemoryContext context;		/* last: pfree looks for it there */
} Chunk;

static char *kept[KEPT_PAGES][KEPT_REGIONS];
static int	nkept[KEPT_PAGES];
static int	nregions = 0;

static Chunk *
chunk_of(void *pointer)
{
	return (Chunk *) ((char *) pointer - sizeof(Chunk));
}

static Size
whole_size(Size size)
{
	return MAXALIGN(sizeof(Chunk) + size);
}

/* So many pages and one behind them that cannot be touched. */
static char *
take_region(Size pages)
{
	char	   *region;

	if (pages < KEPT_PAGES && nkept[pages] > 0)
		return kept[pages][--nkept[pages]];
	region = mmap(NULL, (pages + 1) * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fuzz_require(region != MAP_FAILED);
	fuzz_require(mprotect(region + pages * PAGE, PAGE, PROT_NONE) == 0);
	nregions++;
	return region;
}

static void
give_region(char *region, Size pages)
{
	if (pages < KEPT_PAGES && nkept[pages] < KEPT_REGIONS)
	{
		kept[pages][nkept[pages]++] = region;
		return;
	}
	munmap(region, (pages + 1) * PAGE);
	nregions--;
}

static void *
guarded_alloc(MemoryContext context, Size size)
{
	Size		whole = whole_size(size);
	Size		pages = (whole + PAGE - 1) / PAGE;
	Chunk	   *chunk;

	if (nregions < MAX_REGIONS || (pages < KEPT_PAGES && nkept[pages] > 0))
		chunk = (Chunk *) (take_region(pages) + pages * PAGE - whole);
	else
	{
		chunk = malloc(whole);
		pages = 0;
	}
	memset(chunk, FILLER, whole);
	chunk->size = size;
	chunk->pages = pages;
	chunk->context = context;
	dlist_push_tail(&((Guarded *) context)->chunks, &chunk->node);
	return chunk + 1;
}

static void
free_chunk(Chunk *chunk)
{
	Size		whole = whole_size(chunk->size);
	Size		pages = chunk->pages;
	const char *p;

	for (p = (char *) (chunk + 1) + chunk->size; p < (char *) chunk + whole; p++)
		fuzz_require(*p == FILLER);
	dlist_delete(&chunk->node);
	memset(chunk, FILLER, whole);
	if (pages == 0)
		free(chunk);
	else
		give_region((char *) chunk + whole - pages * PAGE, pages);
}

static void
guarded_free(MemoryContext context, void *pointer)
{
	free_chunk(chunk_of(pointer));
}

static void *
guarded_realloc(MemoryContext context, void *pointer, Size size)
{
	void	   *copy = guarded_alloc(context, size);

	memcpy(copy, pointer, Min(size, chunk_of(pointer)->size));
	free_chunk(chunk_of(pointer));
	return copy;
}

static void
guarded_reset(MemoryContext context)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &((Guarded *) context)->chunks)
		free_chunk(dlist_container(Chunk, node, iter.cur));
}

static void
guarded_delete(MemoryContext context)
{
	guarded_reset(context);
	free(context);
}

static Size
guarded_space(MemoryContext context, void *pointer)
{
	return whole_size(chunk_of(pointer)->size);
}

static bool
guarded_is_empty(MemoryContext context)
{
	return dlist_is_empty(&((Guarded *) context)->chunks);
}

/* Without statistics, whose form is another in each version: nobody asks. */
static const MemoryContextMethods guarded_methods = {
	.alloc = guarded_alloc,
	.free_p = guarded_free,
	.realloc = guarded_realloc,
	.reset = guarded_reset,
	.delete_context = guarded_delete,
	.get_chunk_space = guarded_space,
	.is_empty = guarded_is_empty
};

extern MemoryContext guarded_create(MemoryContext parent, const char *name,
									Size minimum, Size initial, Size maximum);

MemoryContext
guarded_create(MemoryContext parent, const char *name, Size minimum,
			   Size initial, Size maximum)
{
	Guarded    *context = calloc(1, sizeof(Guarded));

	StaticAssertStmt(offsetof(Chunk, context) + sizeof(MemoryContext) ==
					 sizeof(Chunk), "the context must stand before the data");
	fuzz_require(context != NULL);
	dlist_init(&context->chunks);
	MemoryContextCreate(&context->header, T_AllocSetContext,
						&guarded_methods, parent, name);
	return &context->header;
}
