/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>

#include "daemon/registry.h"
#include "tests/daemon_bed.h"

static struct registry registry;
static const struct options options = { .n_shards = 2, .ring_len = 65536 };
static const uint8_t uuid[16] = { 1, 2, 3 };

static void setup(void)
{
	urcu_memb_register_thread();
	registry_init(&registry);
}

static void teardown(void)
{
	urcu_memb_unregister_thread();
}

static struct registry_stream *make(const char *name)
{
	struct registry_stream *stream = registry_add(&registry, name);

	ck_assert_ptr_nonnull(stream);
	ck_assert_int_eq(registry_define(&registry, stream, uuid, &options), 0);
	registry_set_live(&registry, stream);
	return stream;
}

static void unmake(struct registry_stream *stream)
{
	registry_remove(&registry, stream);
	registry_stream_free(stream);
}

START_TEST(a_name_is_found_from_the_beginning_of_its_making)
{
	struct registry_stream *stream = registry_add(&registry, "events"), *seen;
	int n = 0;

	ck_assert_ptr_eq(registry_find(&registry, "events"), stream);
	ck_assert_ptr_null(registry_find(&registry, "event"));
	cds_list_for_each_entry(seen, &registry.streams, node)
		n++;
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(registry_define(&registry, stream, uuid, &options), 0);
	registry_set_live(&registry, stream);
	cds_list_for_each_entry(seen, &registry.streams, node)
		n++;
	ck_assert_int_eq(n, 1);
	ck_assert_uint_eq(registry.n_shards, 2);
	registry_set_removing(&registry, stream);
	ck_assert_ptr_eq(registry_find(&registry, "events"), stream);
	unmake(stream);
	ck_assert_ptr_null(registry_find(&registry, "events"));
	ck_assert_uint_eq(registry.n_shards, 0);
	ck_assert_uint_eq(registry.n_streams, 0);
	ck_assert_uint_eq(registry.ring_len, 0);
}
END_TEST

START_TEST(many_names_are_told_apart)
{
	static struct registry_stream *streams[1000];
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		streams[i] = make(name);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ck_assert_ptr_eq(registry_find(&registry, name), streams[i]);
		unmake(streams[i]);
		ck_assert_ptr_null(registry_find(&registry, name));
	}
}
END_TEST

START_TEST(checkpoints_come_and_go)
{
	struct registry_stream *stream = make("events");
	struct registry_checkpoint *checkpoint = registry_add_checkpoint(stream, "me");

	ck_assert_uint_eq(load_relaxed(&checkpoint->pos[1]), UINT64_MAX);
	ck_assert_ptr_eq(registry_find_checkpoint(stream, "me"), checkpoint);
	ck_assert_ptr_null(registry_find_checkpoint(stream, "you"));
	registry_remove_checkpoint(stream, checkpoint);
	ck_assert_ptr_null(registry_find_checkpoint(stream, "me"));
	ck_assert_uint_eq(stream->n_checkpoints, 0);
	registry_add_checkpoint(stream, "left");
	unmake(stream);
}
END_TEST

static _Atomic uint32_t quit, n_walks;

/* Walks as `stat` does; a freed stream would be seen by the address sanitizer. */
static void *reader(void *arg)
{
	(void)arg;
	urcu_memb_register_thread();
	while (load_relaxed(&quit) == 0) {
		struct registry_stream *stream;
		struct registry_checkpoint *checkpoint;

		urcu_memb_read_lock();
		cds_list_for_each_entry_rcu(stream, &registry.streams, node) {
			ck_assert_uint_ge(registry_options(stream)->ring_len, 65536);
			ck_assert_int_eq(stream->name[0], 's');
			cds_list_for_each_entry_rcu(checkpoint, &stream->checkpoints, node)
				ck_assert_str_eq(checkpoint->name, "me");
		}
		urcu_memb_read_unlock();
		fetch_add_relaxed(&n_walks, 1);
	}
	urcu_memb_unregister_thread();
	return NULL;
}

START_TEST(readers_need_no_lock)
{
	struct options changed = options;
	pthread_t thread;

	pthread_create(&thread, NULL, reader, NULL);
	for (int i = 0; i < 3000 || load_relaxed(&n_walks) < 10; i++) {
		struct registry_stream *stream = make(i % 2 ? "s1" : "s2");
		struct registry_checkpoint *checkpoint = registry_add_checkpoint(stream, "me");

		changed.ring_len = 65536u << (i % 4);
		ck_assert_int_eq(registry_set_options(&registry, stream, &changed), 0);
		if (i % 3)
			registry_remove_checkpoint(stream, checkpoint);
		unmake(stream);
	}
	store_relaxed(&quit, 1);
	pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry");
	TCase *tc = tcase_create("registry");
	SRunner *runner = srunner_create(suite);
	int n_failed;

#ifdef __SANITIZE_THREAD__
	puts("the race detector does not see the grace periods of liburcu");
	return 77;
#endif
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_name_is_found_from_the_beginning_of_its_making);
	tcase_add_test(tc, many_names_are_told_apart);
	tcase_add_test(tc, checkpoints_come_and_go);
	tcase_add_test(tc, readers_need_no_lock);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
