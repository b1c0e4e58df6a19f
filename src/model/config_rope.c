/* Rotation and sliding windows as configurations of Hugging Face's classes tell them. Version 4 has rope_theta and
 * rope_scaling, version 5 one object rope_parameters. */
#include <math.h>
#include <string.h>

#include "config.h"

/* What an object says its type is: rope_type, or type as older programs have it; NULL: nothing, or "default". */
static ds_status read_type(const char **type, const json_t *object, const char *name, const char *where) {
    static const char *const keys[] = {"rope_type", "type"};
    const char *said[2] = {NULL, NULL};
    *type = NULL;
    if (object == NULL || json_is_null(object)) return DS_OK;
    if (!json_is_object(object))
        return ds_fail(DS_ERR_INPUT, "%s: %s is %s, expected an object or null", where, name, ds_config_describe(object).text);
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(object, keys[i]);
        if (value == NULL || json_is_null(value)) continue;
        if (!json_is_string(value))
            return ds_fail(DS_ERR_INPUT, "%s: %s of %s is %s, expected a string", where, keys[i], name,
                           ds_config_describe(value).text);
        said[i] = json_string_value(value);
    }
    if (said[0] != NULL && said[1] != NULL && strcmp(said[0], said[1]) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: %s says rope_type \"%s\" and type \"%s\", expected one of them", where, name,
                       DS_SHOW(said[0]), DS_SHOW(said[1]));
    const char *found = said[0] != NULL ? said[0] : said[1];
    if (found != NULL && strcmp(found, "default") != 0) *type = found;
    return DS_OK;
}

/* A number greater than 0. */
static ds_status read_positive(double *out, const json_t *value, const char *key, const char *where) {
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || !(number > 0))
        return ds_fail(DS_ERR_INPUT, "%s: %s is %s, expected a number greater than 0", where, key,
                       value == NULL ? "absent" : ds_config_describe(value).text);
    *out = number;
    return DS_OK;
}

static ds_status read_theta(ds_config *config, const json_t *object, const json_t *parameters, const char *where) {
    ds_status status = DS_OK;
    const json_t *newer = json_object_get(parameters, "rope_theta"), *older = json_object_get(object, "rope_theta");
    double base = 0;
    if (older != NULL && !json_is_null(older)) DS_TRY(read_positive(&config->rope_base, older, "rope_theta", where));
    if (newer == NULL || json_is_null(newer)) return DS_OK;
    DS_TRY(read_positive(&base, newer, "rope_theta of rope_parameters", where));
    if (older != NULL && !json_is_null(older) && (base < config->rope_base || base > config->rope_base))
        return ds_fail(DS_ERR_INPUT, "%s: rope_theta is %.17g, but %.17g in rope_parameters, expected one of them", where,
                       config->rope_base, base);
    config->rope_base = base;
done:
    return status;
}

static ds_status read_llama3(ds_rope_scaling *scaling, const json_t *object, const char *where) {
    ds_status status = DS_OK;
    DS_TRY(read_positive(&scaling->factor, json_object_get(object, "factor"), "factor of the llama3 rotation", where));
    DS_TRY(read_positive(&scaling->low_freq_factor, json_object_get(object, "low_freq_factor"),
                         "low_freq_factor of the llama3 rotation", where));
    DS_TRY(read_positive(&scaling->high_freq_factor, json_object_get(object, "high_freq_factor"),
                         "high_freq_factor of the llama3 rotation", where));
    DS_TRY(read_positive(&scaling->original_context, json_object_get(object, "original_max_position_embeddings"),
                         "original_max_position_embeddings of the llama3 rotation", where));
    if (!(scaling->high_freq_factor > scaling->low_freq_factor))
        return ds_fail(DS_ERR_INPUT, "%s: high_freq_factor is %.17g, expected more than low_freq_factor, %.17g", where,
                       scaling->high_freq_factor, scaling->low_freq_factor);
done:
    return status;
}

ds_status ds_rope_read(ds_config *config, const json_t *object, const char *where) {
    ds_status status = DS_OK;
    const json_t *parameters = json_object_get(object, "rope_parameters"), *scaling = json_object_get(object, "rope_scaling");
    const char *newer, *older;
    DS_TRY(read_type(&newer, parameters, "rope_parameters", where));
    DS_TRY(read_type(&older, scaling, "rope_scaling", where));
    DS_TRY(read_theta(config, object, parameters, where));
    if (newer != NULL && older != NULL && strcmp(newer, older) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: rope_parameters are of type \"%s\", rope_scaling is of \"%s\", expected one of them",
                       where, DS_SHOW(newer), DS_SHOW(older));
    const json_t *part = json_object_get(parameters, "partial_rotary_factor");
    if (part != NULL && !json_is_null(part) && !(json_is_number(part) && fabs(json_number_value(part) - 1) <= 0))
        return ds_fail(DS_ERR_INPUT, "%s: partial_rotary_factor of rope_parameters is %s, expected 1", where,
                       ds_config_describe(part).text);
    const char *type = newer != NULL ? newer : older;
    if (type == NULL) return DS_OK;
    if (strcmp(type, "llama3") != 0)
        return ds_fail(DS_ERR_INPUT, "%s: unsupported rotation of type \"%s\", expected \"default\" or \"llama3\"", where,
                       DS_SHOW(type));
    DS_TRY(read_llama3(&config->rope_scaling, newer != NULL ? parameters : scaling, where));
done:
    return status;
}

/* A layer slides when layer_types says so or, without, from max_window_layers on. */
ds_status ds_sliding_check(const ds_config *config, const json_t *object, const char *where) {
    enum { USUAL_WINDOW_LAYERS = 28 };
    const json_t *types = json_object_get(object, "layer_types"), *most = json_object_get(object, "max_window_layers");
    if (!ds_config_reads(config->family, "use_sliding_window") || !json_is_true(json_object_get(object, "use_sliding_window")))
        return DS_OK;
    bool slides =
        !json_is_array(types) &&
        (json_int_t)config->layers > (json_is_integer(most) ? json_integer_value(most) : (json_int_t)USUAL_WINDOW_LAYERS);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        slides = slides || type == NULL || strcmp(type, "full_attention") != 0;
    }
    if (!slides) return DS_OK;
    return ds_fail(DS_ERR_INPUT,
                   "%s: use_sliding_window is true and a layer slides, which is unsupported: expected full attention in every "
                   "layer",
                   where);
}
