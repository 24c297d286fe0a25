/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing a ring in favour of a successor while publishers are stopped anywhere
 * (ring_close_tail, ring_set_succeeded, orphan_hole_len, the decisions in
 * daemon/shard_succeed.c; ring_commit and ring_read on the other side). A stopped publisher is
 * one that makes no step for a while; none of them can be waited for.
 *
 * Loads and stores are single steps in some order of all, but for the one that matters: the store
 * of the committed word may stay in its publisher's store buffer, behind the loads that follow
 * it, until the processor pleases or a membarrier passes.
 *
 * Cells, positions and words are as in ring.pml; the old ring wraps where CLOSE_END lets it. The
 * tail of the old ring is `tail` and `closed` together, one word.
 *
 * With DIE a publisher may die before any step; the drain buries in the old ring what it left there
 * (orphan_step() as one step; ring.pml takes it apart). With CLOSE_END publishers together go on for
 * more than a lap, while the drain frees memory (ring_reclaim), so that the reader may be lapped and
 * read from disk before it comes to the end of the ring. With BATCH some of what is published are
 * batches: a header and two records, which the reader steps into. With DEATHS the daemon dies so
 * often, before any of its steps, and the next one takes the rings over (shard_adopt,
 * shard_adopt_succession and shard_adopted_pos in daemon/shard.c).
 *
 * What is asserted, besides the absence of deadlock:
 *   - a publisher that was told "published" has its record in the log, and one that was told
 *     "not published" has not;
 *   - a reader, wherever it crosses from the old ring to the new, has at the end delivered
 *     exactly the records of the log, once and whole, and never stands inside of a record.
 *
 * LEN, PUBS, DIE, CLOSE_END, BATCH, DEATHS and COMMIT_WITH_FENCE (where there is no membarrier)
 * choose what is searched. Every other name in an #ifdef puts one mistake in: the negative controls
 * of run.sh.
 */
#ifndef LEN
#define LEN 4 /* cells, of both rings */
#endif
#ifndef PUBS
#define PUBS 3
#endif
#ifndef CLOSE_END
#define CLOSE_END LEN
#endif
#ifndef DEATHS
#define DEATHS 0
#endif

#define FREE 0
#define RESERVED 1
#define COMMITTED 2
#define TOMBSTONE 3
#define PAYLOAD 4
#define BATCH_HEADER 5

#define WORD(kind, owner, span) ((kind) + ((owner) << 3) + ((span) << 5))
#define KIND(w) ((w) & 7)
#define OWNER(w) (((w) >> 3) & 3)
#define SPAN(w) ((w) >> 5)
#define OLD(pos) old[(pos) % LEN]
#define NEW(pos) new[(pos) % LEN]
#define COUNTS(w) (KIND(w) == COMMITTED || KIND(w) == BATCH_HEADER)
#define DONE_KIND(span) ((span) == 3 -> BATCH_HEADER : COMMITTED)

byte old[LEN];      /* ring memory of the ring that is closed */
byte new[LEN];      /* of its successor, by the same positions */
byte tail;
bool closed;        /* LAYOUT_TAIL_CLOSED */
byte limit = LEN;   /* govern page of the old ring, as the next five */
byte reclaimed;
byte close_pos;
bool succeeded;     /* state is GOVERN_SUCCEEDED, not GOVERN_OPEN */
bool attention;     /* GOVERN_CLOSED */
bool opened;        /* state of the new ring is GOVERN_OPEN */
#ifdef DIE
bool dead[PUBS];    /* what the kernel tells the daemon, by pidfd */
bool claim[PUBS];   /* publish page: the slot's counter is odd */
#endif

byte buffered[PUBS];    /* store buffer: the committed word, 0 = empty */
byte buffered_at[PUBS]; /* and its position */

#define UNTOLD 0
#define PUBLISHED 1
#define NOT_PUBLISHED 2
byte told[PUBS];    /* ghost: what ring_commit and what follows it have said */
bool logged[PUBS];  /* ghost: its record, or its batch, is in the log */
byte whose_at[PUBS];   /* ghost: where it is */
byte whose_span[PUBS]; /* ghost: and how long; 3 is a batch */
byte drained;       /* where the drain's walk stands */
byte final = 255;   /* ghost: the tail when it was closed */

inline tell(what)
{
	told[me] = what;
	assert(!opened || logged[me] == (what == PUBLISHED))
}

inline flush(p)
{
	if
	:: buffered[p] ->
		OLD(buffered_at[p]) = buffered[p];
		buffered[p] = 0;
		buffered_at[p] = 0
	:: else
	fi
}

#ifdef DIE
/* Its processor has stored all that it was to store before the kernel says that it is dead. */
#define MAY_DIE :: atomic { true -> flush(me); dead[me] = true; pos = 0; span = 0; goto out }
#define CLAIM(to) claim[me] = to
#else
#define MAY_DIE
#define CLAIM(to) skip
#endif

active [PUBS] proctype publisher()
{
	byte me = _pid, pos, span;

	if
	:: atomic { /* ring_reserve: CAS of publish->tail; ring.pml takes it apart */
		closed || tail == CLOSE_END || tail < limit ->
		if
		:: closed || tail == CLOSE_END -> goto out /* goes to the successor */
		:: else
		fi;
		pos = tail;
		if
		:: span = 1
		:: tail + 1 < CLOSE_END && tail + 1 < limit -> span = 2
#ifdef BATCH
		:: tail + 2 < CLOSE_END && tail + 2 < limit -> span = 3
#endif
		fi;
		tail = pos + span;
		whose_at[me] = pos;
		whose_span[me] = span;
		CLAIM(true)
	   }
	fi;
	if
	:: atomic { /* store the reserved word; the claim becomes even */
		OLD(pos) = WORD(RESERVED, me, span);
		CLAIM(false)
	   }
	MAY_DIE
	fi;
	if
	:: atomic { /* fill in the record, or the first of a batch (batch_put) */
		span > 1 ->
		OLD(pos + 1) = (span == 3 -> WORD(COMMITTED, me, 1) : WORD(PAYLOAD, me, 0))
	   }
		if
		:: atomic { span == 3 -> OLD(pos + 2) = WORD(COMMITTED, me, 1) }
		:: span == 2
		MAY_DIE
		fi
	:: span == 1
	MAY_DIE
	fi;
commit:
#ifdef ATTENTION_BEFORE_COMMIT
	atomic {
		if
		:: !attention -> span = span + 4
		:: else
		fi
	}
#endif
	if
	:: atomic { /* ring_commit: store of the committed word, into the store buffer */
		buffered[me] = WORD(DONE_KIND(span & 3), me, span & 3);
		buffered_at[me] = pos
	   }
	MAY_DIE
	fi;
#ifdef COMMIT_WITH_FENCE
	buffered[me] == 0; /* fence_full() */
#endif
	if
	:: atomic { true -> /* load govern->attention */
		if
#ifdef ATTENTION_BEFORE_COMMIT
		:: span > 2 ->
#elif defined(NO_ATTENTION)
		:: true ->
#else
		:: !attention ->
#endif
			tell(PUBLISHED);
			goto out
		:: else
		fi
	   }
	MAY_DIE
	fi;
	atomic { /* RING_E_CLOSED: did the record count? (follow_fate) */
		if
		:: !succeeded || pos < close_pos ->
			tell(PUBLISHED);
			goto out
		:: else
		fi
	}
	atomic { opened -> /* ring_word_at() of the successor (look_up) */
		if
		:: NEW(pos) == WORD(DONE_KIND(span & 3), me, span & 3) -> tell(PUBLISHED)
		:: else -> tell(NOT_PUBLISHED)
		fi
	}
out:	skip
}

/* Store buffers empty themselves sooner or later. */
active proctype processors()
{
end:	do
	:: atomic { buffered[0] -> flush(0) }
	:: atomic { buffered[1] -> flush(1) }
#if PUBS > 2
	:: atomic { buffered[2] -> flush(2) }
#endif
	od
}

#if DEATHS
#define MAY_RESTART :: atomic { deaths < DEATHS -> deaths++; goto reborn }
#else
#define MAY_RESTART
#endif

/* What a word says of the log that the drain walks over. */
inline log(w)
{
	logged[OWNER(w)] = true;
	assert(whose_span[OWNER(w)] == SPAN(w))
}

/*
 * Whoever owns a part of a hole may wake up now: it stores its word, then its content, and what has
 * ended the hole may be content. Looking backwards, the word of whatever content has been seen is
 * seen too: the lowest cell that is not zero is a word.
 */
inline hole_len(from, upto)
{
	hole = from + 1;
	do
	:: atomic { hole < upto && OLD(hole) == FREE -> hole++ }
	:: atomic { hole == upto || OLD(hole) != FREE -> break }
	od;
	lowest = hole;
#if defined(RECHECK_FIRST_ONLY)
	lowest = (OLD(from) != FREE -> from : hole);
#elif defined(RECHECK_FORWARDS)
	lowest = from;
	do
	:: atomic { lowest < hole && OLD(lowest) == FREE -> lowest++ }
	:: atomic { lowest == hole || OLD(lowest) != FREE -> break }
	od;
#elif !defined(NO_RECHECK)
	do
	:: atomic { hole > from ->
		hole--;
		lowest = (OLD(hole) != FREE -> hole : lowest)
	   }
	:: atomic { hole == from -> break }
	od;
#endif
}

/* A daemon that comes after another copies and buries anew; nobody has seen what that one did. */
inline forget_new()
{
	at = 0;
	do
	:: at < LEN ->
		if
		:: COUNTS(new[at]) -> logged[OWNER(new[at])] = false
		:: else
		fi;
		new[at] = FREE;
		at++
	:: else -> break
	od;
	at = 0
}

#if defined(DIE) && defined(NO_CLAIM_WAIT)
#define CLAIMED false
#elif defined(DIE)
#define ONE_CLAIMS(p) (!dead[p] && claim[p])
#if PUBS > 2
#define CLAIMED (ONE_CLAIMS(0) || ONE_CLAIMS(1) || ONE_CLAIMS(2))
#else
#define CLAIMED (ONE_CLAIMS(0) || ONE_CLAIMS(1))
#endif
#endif

active proctype drain()
{
	byte at, hole, lowest, i, from, upto;
#if DEATHS
	byte deaths;

	goto walk;
reborn:	atomic { /* ring_open of the next daemon finishes what ring_reclaim had begun */
		hole = 0; lowest = 0; i = 0; at = 0;
		upto = reclaimed;
		from = limit - LEN;
		if
		:: opened -> goto over /* the new ring is the current one (shard_adopt) */
		:: else
		fi
	}
	do
	:: atomic { from < upto -> OLD(from) = FREE; from++ }
	:: atomic { from == upto -> limit = upto + LEN; from = 0; upto = 0; break }
	MAY_RESTART
	od;
	atomic { /* shard_adopt_succession, shard_adopted_pos */
		if
		:: !succeeded && drained > reclaimed -> /* what it knew is gone; the worst */
			/* Where walking goes on the log is the segments and what follows. */
			drained = reclaimed
		:: true
		fi;
		forget_new();
		final = (closed -> tail : final);
		if
#ifdef NOT_SAID_AGAIN
		:: succeeded -> at = close_pos; goto decide
#else
		:: succeeded -> goto announce /* ring_set_succeeded once more */
#endif
		:: else
		fi
	}
walk:	skip;
#endif
	do
	:: atomic { drained < tail && drained < limit && COUNTS(OLD(drained)) -> /* shard_walk */
		log(OLD(drained));
		drained = drained + SPAN(OLD(drained))
	   }
#ifdef DIE
	:: atomic { drained < tail && KIND(OLD(drained)) == TOMBSTONE ->
		drained = drained + SPAN(OLD(drained))
	   }
	:: atomic { drained < tail && KIND(OLD(drained)) == RESERVED && dead[OWNER(OLD(drained))] ->
		OLD(drained) = WORD(TOMBSTONE, 0, SPAN(OLD(drained)))
	   }
	:: atomic { drained < tail && OLD(drained) == FREE && !CLAIMED -> upto = tail } /* a hole */
		hole_len(drained, upto);
		atomic {
			if
			:: lowest > drained -> OLD(drained) = WORD(TOMBSTONE, 0, lowest - drained)
			:: else
			fi;
			hole = 0; lowest = 0; upto = 0
		}
#endif
#if CLOSE_END > LEN
	:: atomic { reclaimed < drained && drained + LEN > limit -> /* ring_reclaim */
		upto = drained;
		from = limit - LEN;
		reclaimed = upto
	   }
		do
		:: atomic { from < upto -> OLD(from) = FREE; from++ }
		:: atomic { from == upto -> limit = upto + LEN; from = 0; upto = 0; break }
		MAY_RESTART
		od
#endif
	:: atomic { !closed -> /* ring_close_tail */
		closed = true;
		final = tail
	   }
	:: atomic { closed -> /* all is resolved, or the claim time-out has passed */
#ifndef STATE_BEFORE_CLOSE_POS
		close_pos = drained; /* ring_set_succeeded */
#endif
		break
	   }
	MAY_RESTART
	od;
	if
	:: succeeded = true
	MAY_RESTART
	fi;
#ifdef STATE_BEFORE_CLOSE_POS
	close_pos = drained;
#endif
announce:
#ifndef BARRIER_BEFORE_ATTENTION
	if
	:: attention = true
	MAY_RESTART
	fi;
#endif
#ifndef NO_MEMBARRIER
	do
	:: atomic { i < PUBS -> flush(i); i++ } /* membarrier: one processor after the other */
	:: atomic { i == PUBS -> i = 0; break }
	MAY_RESTART
	od;
#endif
#ifdef BARRIER_BEFORE_ATTENTION
	attention = true;
#endif

	/* What lies between close_pos and the final tail: to be copied or buried, once for all. */
	at = close_pos; /* shard_succeed_decide */
decide:	do
	:: at < final ->
		if
		:: atomic { COUNTS(OLD(at)) -> /* shard_decide_one: load_acquire of the word */
			log(OLD(at));
			hole = SPAN(OLD(at)); /* as many cells are copied */
			do
			:: hole > 0 -> hole--; NEW(at + hole) = OLD(at + hole)
			:: else -> break
			od;
			at = at + SPAN(OLD(at))
		   }
		:: atomic { KIND(OLD(at)) == RESERVED || KIND(OLD(at)) == TOMBSTONE ->
			NEW(at) = WORD(TOMBSTONE, 0, SPAN(OLD(at)));
			at = at + SPAN(OLD(at))
		   }
		:: atomic { KIND(OLD(at)) == PAYLOAD -> /* garbage: all that follows is lost */
			NEW(at) = WORD(TOMBSTONE, 0, final - at);
			at = final
		   }
		:: OLD(at) == FREE -> /* orphan_hole_len */
			hole_len(at, final);
			atomic {
				hole = 0;
				if
				:: lowest > at ->
					NEW(at) = WORD(TOMBSTONE, 0, lowest - at);
					at = lowest
				:: else /* its owner woke up: look at the word again */
				fi;
				lowest = 0
			}
		fi
	:: atomic { at == final -> break }
	MAY_RESTART
	od;
	if
	:: atomic { /* shard_succeed_finish: ring_set_state of the new ring */
		opened = true;
		at = 0;
		i = 0;
		do
		:: i < PUBS ->
			assert(told[i] != PUBLISHED || logged[i]);
			assert(told[i] != NOT_PUBLISHED);
			i++
		:: else -> break
		od;
		i = 0
	   }
	MAY_RESTART
	fi;
over:	skip
}

#define ENDED (succeeded && pos >= close_pos)

/* The records of publisher p: 1, or of a batch 1 and 2. `w` is the word found at pos. */
inline deliver(w)
{
	assert(KIND(w) == COMMITTED);
	if
	:: whose_span[OWNER(w)] == 3 && SPAN(w) == 1 -> /* of a batch */
		assert(pos == whose_at[OWNER(w)] + 1 || pos == whose_at[OWNER(w)] + 2);
		assert((got[OWNER(w)] & (pos - whose_at[OWNER(w)])) == 0);
		got[OWNER(w)] = got[OWNER(w)] | (pos - whose_at[OWNER(w)])
	:: else ->
		assert(pos == whose_at[OWNER(w)] && got[OWNER(w)] == 0);
		got[OWNER(w)] = 3
	fi
}

#ifdef INTO_NOTHING
#define STEP(w) SPAN(w) /* over a batch, as if it were a record */
#else
#define STEP(w) (KIND(w) == BATCH_HEADER -> 1 : SPAN(w)) /* record_step */
#endif

/* ring_read of a subscriber that begins at 0, through both rings. */
active proctype reader()
{
	byte pos, w, i;
	byte got[PUBS];
	bool late;
#if CLOSE_END > LEN
	bool torn;
#endif

	do
#ifdef STATE_BEFORE_COPY
	:: atomic { late = ENDED; w = 0 }
		atomic {
			if
			:: late -> break
			:: !late && pos < limit && COUNTS(OLD(pos)) -> w = OLD(pos)
			:: else -> goto next
			fi;
		}
#else
	:: atomic { /* load_acquire of the word, below the limit */
		pos < limit && (COUNTS(OLD(pos)) || KIND(OLD(pos)) == TOMBSTONE) ->
		w = OLD(pos)
	   }
#endif
#if CLOSE_END > LEN
		/* The rest is copied later; in a ring that does not wrap it stays what it is. */
		atomic { torn = KIND(w) == COMMITTED && SPAN(w) == 2 &&
				OLD(pos + 1) != WORD(PAYLOAD, OWNER(w), 0) }
		atomic { /* ring_lapped */
#ifndef NO_RECLAIMED_IN_READ
			if
			:: reclaimed > pos -> w = 0; torn = false; goto next
			:: else
			fi
#else
			skip
#endif
		}
#endif
		atomic {
#if !defined(TRUST_OLD_RING) && !defined(STATE_BEFORE_COPY)
			if
			:: ENDED -> /* load_acquire of the state, after the copy */
				w = 0;
#if CLOSE_END > LEN
				torn = false;
#endif
				break
			:: else
			fi;
#endif
#if CLOSE_END > LEN
			assert(!torn);
#else
			assert(KIND(w) != COMMITTED || SPAN(w) == 1 ||
			       OLD(pos + 1) == WORD(PAYLOAD, OWNER(w), 0));
#endif
			if
			:: KIND(w) == COMMITTED -> deliver(w)
			:: else
			fi;
			pos = pos + STEP(w);
			w = 0
		}
next:		skip
#if CLOSE_END > LEN
	:: atomic { reclaimed > pos -> /* RING_E_LAPPED: from disk, then come back */
		if
		:: late = false /* as early as may be, */
		:: late = true  /* or when all that is there has been read */
		fi;
		w = (late && drained > reclaimed -> drained : reclaimed);
		late = false;
		do
		:: i < PUBS ->
			if
			:: logged[i] && whose_at[i] < w && whose_span[i] < 3 && whose_at[i] >= pos ->
				assert(got[i] == 0);
				got[i] = 3
			:: logged[i] && whose_at[i] < w && whose_span[i] == 3 ->
				got[i] = got[i] | (whose_at[i] + 1 >= pos -> 1 : 0) |
					 (whose_at[i] + 2 >= pos -> 2 : 0)
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		pos = w;
		w = 0
	   }
#endif
	:: ENDED -> break /* RING_E_CLOSED */
	od;
	opened;
	atomic { /* the new ring does not change any more */
		w = 0;
		do
		:: pos < final ->
			w = NEW(pos);
			assert(KIND(w) == TOMBSTONE || COUNTS(w));
			if
			:: KIND(w) == COMMITTED ->
				assert(SPAN(w) == 1 || NEW(pos + 1) == WORD(PAYLOAD, OWNER(w), 0));
				deliver(w)
			:: else
			fi;
			pos = pos + STEP(w)
		:: else -> break
		od;
		assert(pos == final);
		do
		:: i < PUBS ->
			assert(got[i] == (logged[i] -> 3 : 0));
			i++
		:: else -> break
		od
	}
}
