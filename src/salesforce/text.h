/*-------------------------------------------------------------------------
 *
 * text.h
 *	  The other side's words, made fit to stand in a message of ours.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_TEXT_H
#define SYNC_TEXT_H

/* Longest text that is quoted; Salesforce sends whole statements back. */
#define FOREIGN_TEXT_MAX 1000

/*
 * One line in the database's encoding, clipped: white space is folded, lines
 * that hold only a caret (Salesforce points at the spot in the statement) are
 * dropped, bytes that are no text become question marks.
 */
extern char *foreign_text(const char *text);

/* What an answer that is not JSON says, in a few words. */
extern char *foreign_page(const char *body);

/* "what: words" for a primary message; words are such, or NULL. */
extern char *foreign_behind(const char *what, const char *words);

#endif							/* SYNC_TEXT_H */
