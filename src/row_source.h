/*-------------------------------------------------------------------------
 *
 * row_source.h
 *	  How rows travel from the Salesforce bank to the tables bank.
 *
 * Every way in (query page, Bulk result page) hands out its rows as the same
 * stream, so that all take one path into the table: source -> COPY -> stage ->
 * merge.  The stream is CSV as PostgreSQL's COPY reads it with DELIMITER ','
 * QUOTE '"' ESCAPE '"' and FORCE_NULL on every column:
 *
 *	- no header line; the columns are the fields that were asked for, in that
 *	  order;
 *	- an empty value, quoted or not, is NULL (Bulk cannot tell the two apart,
 *	  and Salesforce stores no empty strings);
 *	- no NUL bytes (PostgreSQL's text cannot hold them; sources strip them).
 *	  Bytes that are not valid UTF-8 are passed on: the table side sets such
 *	  rows aside and names them.
 *
 * This header is the only one that both banks include.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ROW_SOURCE_H
#define SYNC_ROW_SOURCE_H

typedef struct RowSource
{
	/*
	 * Copies between minread and maxread bytes into outbuf, fewer than minread
	 * only at the end of the rows (the contract of copy_data_source_cb).
	 * Raises an error when the transfer fails; an error is also raised, at the
	 * end, when fewer rows came than the other side had announced.
	 */
	int			(*read) (struct RowSource *source, void *outbuf,
						 int minread, int maxread);

	/*
	 * Starts the same rows from the beginning, for a second and more careful
	 * reading after COPY refused a row.  May ask the org again.
	 */
	void		(*rewind) (struct RowSource *source);
} RowSource;

#endif							/* SYNC_ROW_SOURCE_H */
