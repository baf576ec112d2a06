/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Returning rows from a SQL function, the same way in all versions.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "rows.h"

RowsOut *
rows_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	RowsOut    *out = palloc0(sizeof(RowsOut));
	MemoryContext old;
	Oid			type;

	if (info == NULL || !IsA(info, ReturnSetInfo) ||
		(info->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));

	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, &type, &out->desc) == TYPEFUNC_COMPOSITE)
		out->desc = CreateTupleDescCopy(out->desc);
	else
	{
		out->desc = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(out->desc, 1, "value", type, -1, 0);
	}
	out->store = tuplestore_begin_heap((info->allowedModes &
										SFRM_Materialize_Random) != 0,
									   false, work_mem);
	MemoryContextSwitchTo(old);
	info->returnMode = SFRM_Materialize;
	info->setResult = out->store;
	info->setDesc = out->desc;
	return out;
}

void
rows_add(RowsOut *out, Datum *values, bool *nulls)
{
	tuplestore_putvalues(out->store, out->desc, values, nulls);
}

void
rows_add_texts(RowsOut *out, const char *const *values)
{
	int			n = out->desc->natts;
	Datum	   *datums = palloc0(sizeof(Datum) * n);
	bool	   *nulls = palloc0(sizeof(bool) * n);

	for (int i = 0; i < n; i++)
	{
		Oid			input;
		Oid			param;

		nulls[i] = values[i] == NULL;
		if (nulls[i])
			continue;
		getTypeInputInfo(TupleDescAttr(out->desc, i)->atttypid, &input,
						 &param);
		datums[i] = OidInputFunctionCall(input, (char *) values[i], param, -1);
	}
	rows_add(out, datums, nulls);
}
