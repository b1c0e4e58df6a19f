/* What the formats of a page share. */
#ifndef DELTASCOPE_REPORT_PAGE_H
#define DELTASCOPE_REPORT_PAGE_H

#include "deltascope/report.h"

/* The title of the figure, table or section of that id; the id itself when the page has none. */
const char *ds_page_evidence_title(const ds_page *page, const char *id);

#endif
