/* A map from the names of somebody's checkpoint to ours (README.md "Maps"): read, applied to tensors, applied to settings.
 * Private to io. */
#ifndef DELTASCOPE_IO_NAME_MAP_H
#define DELTASCOPE_IO_NAME_MAP_H

#include "catalog.h"

typedef struct ds_name_map ds_name_map;

ds_status ds_name_map_open(ds_name_map **out, const char *path) DS_MUST_CHECK;
void ds_name_map_close(ds_name_map **map); /* sets NULL; NULL is fine */
const char *ds_name_map_path(const ds_name_map *map);
const char *ds_name_map_sha256(const ds_name_map *map);
const char *ds_name_map_state(const ds_name_map *map); /* the entry that holds the state, or NULL */
/* Whether `config` has every setting the map renames, and it renames any. */
bool ds_name_map_fits(const ds_name_map *map, const json_t *config);

/* Whether it states settings of its own, which can do without any configuration. */
bool ds_name_map_has_settings(const ds_name_map *map);

/* Tensors under our names, before the catalog is sealed: renamed, transposed, cut into equal parts along the first axis; no
 * values are moved. A row that fits no tensor, two rows that fit one, parts that do not come out even are refused. */
ds_status ds_name_map_tensors(const ds_name_map *map, ds_catalog *catalog) DS_MUST_CHECK;
/* *config <- a new object with settings renamed and added; NULL stands for none at all. A setting that `where` lacks, or that
 * would be there twice, is refused. */
ds_status ds_name_map_config(const ds_name_map *map, json_t **config, const char *where) DS_MUST_CHECK;

#endif
