/* SPDX-License-Identifier: Apache-2.0 */
/* What cppcheck is shown in the place of headers that it does not look at: loops that look like
 * calls. */
#define cds_list_for_each_entry(p, head, member)                                                   \
	for ((p) = first_entry(head); (p); (p) = next_entry(p))
#define cds_list_for_each_entry_rcu(p, head, member)                                               \
	for ((p) = first_entry(head); (p); (p) = next_entry(p))
#define cds_list_for_each_entry_safe(p, next, head, member)                                        \
	for ((p) = first_entry(head); (p) && ((next) = next_entry(p), 1); (p) = (next))
#define json_array_foreach(array, index, value)                                                    \
	for ((index) = 0; ((value) = json_array_get((array), (index))) != NULL; (index)++)
#define json_object_foreach(object, key, value)                                                    \
	for ((key) = first_key(object); ((value) = json_object_get((object), (key))) != NULL;      \
	     (key) = next_key(key))
