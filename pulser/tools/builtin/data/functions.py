"""The functions of DuckDB that a question may use. Whatever is not named here is refused: anything that reads a file, a setting,
the environment or the catalogue, that runs a string as SQL, sleeps, logs or keeps state between statements."""

from __future__ import annotations

_AGGREGATES = """any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_min argmax argmin array_agg avg bit_and bit_or bit_xor
bool_and bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum geomean geometric_mean group_concat histogram
kahan_sum kurtosis
kurtosis_pop last list listagg mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count
regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy sem skewness stddev stddev_pop stddev_samp string_agg sum sumkahan var_pop var_samp variance
wavg weighted_avg"""
_WINDOWS = "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value fill"
_NUMBERS = """abs acos acosh add asin asinh atan atan2 atanh bin binom bit_count cbrt ceil ceiling cos cosh cot decimal_division degrees divide even
exp factorial fdiv
floor fmod gamma gcd greatest greatest_common_divisor hex isfinite isinf isnan lcm least least_common_multiple lgamma ln log log10 log2 mod multiply
nextafter pi pow
power radians random round round_even roundbankers sign signbit sin sinh sqrt subtract tan tanh to_base trunc xor"""
_TEXT = """array_to_string ascii bar base64 bit_length char_length character_length chr concat concat_ws contains damerau_levenshtein decode
editdist3 encode ends_with
format format_bytes formatreadablesize from_base64 from_hex hamming instr jaccard jaro_similarity jaro_winkler_similarity lcase left length
levenshtein like_escape
ilike_escape not_like_escape not_ilike_escape lower lpad ltrim md5 mismatches nfc_normalize octet_length ord position prefix printf regexp_escape regexp_extract
regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right rpad rtrim sha1 sha256 split split_part
starts_with str_split str_split_regex string_split string_split_regex string_to_array strip_accents strlen strpos substr substring suffix to_base64
to_binary to_hex translate
trim ucase unhex unicode upper url_decode url_encode"""
_TIMES = """age century current_date date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
dayofweek dayofyear
days_in_month decade epoch epoch_ms epoch_ns epoch_us era get_current_timestamp hour isodow isoyear julian last_day make_date make_time make_timestamp
microsecond millennium millisecond minute month monthname nanosecond now quarter second strftime strptime time_bucket timezone to_centuries to_days to_decades
to_hours to_microseconds to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today try_strptime week weekday weekofyear
year yearweek"""
_NESTED = """array_contains array_distinct array_extract array_filter array_has array_length array_position array_slice array_sort array_unique array_value
cardinality element_at filter flatten from_json generate_series json json_array json_array_length json_contains json_exists json_extract json_extract_path
json_extract_path_text json_extract_string json_group_array json_group_object json_keys json_object json_type json_valid json_value len list_apply list_append
list_avg list_concat list_contains list_count list_distinct list_element list_extract list_filter list_first list_has list_last list_max list_median list_min
list_position list_reduce list_reverse list_reverse_sort list_slice list_sort list_sum list_transform list_unique list_value list_zip map
map_contains map_entries
map_extract map_from_entries map_keys map_values range row struct_extract struct_extract_at struct_pack to_json unnest"""
_LOGIC = "coalesce if ifnull nullif hash typeof"
_OPERATORS = "!= % & && * ** + - -> ->> / // < <-> << <= <=> <@ = > >= >> @ @> ^ ^@ | || ~ ~~ ~~* !~~ !~~* ~~~ !"

FUNCTIONS = frozenset(f"{_AGGREGATES} {_WINDOWS} {_NUMBERS} {_TEXT} {_TIMES} {_NESTED} {_LOGIC}".split())
"""Callable by name."""
OPERATORS = frozenset([*_OPERATORS.split(), "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "__between", "__postfix"])
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
"""Those that may stand in FROM."""
