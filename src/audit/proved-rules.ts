import { array, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Disagreement, FOUND } from './check.ts';

/**
 * How far each rule was proved whose rows become ever more. What was written before and cannot change is not read again by the next run: it reads
 * what was written since, and all of it once a week. What a proof of all rows found counts until the next such proof, since the runs between
 * them do not look there; what they find themselves keeps the mark as it was, so that each of them finds the same until it is mended.
 */

interface ProvedRule {
  readonly rule: string;
  /** When all rows were last read. */
  readonly wholeAt: Date;
  /** Up to when what was written was read, and found right. */
  readonly provedAt: Date;
}

/** What is to be done with what was proved before. */
export interface ProofTimes {
  /** What was wholly read before this time counts for nothing. */
  readonly wholeSince: Date;
  /** What is noted as the time of the proof. */
  readonly now: Date;
}

/** What is to be read of a rule. */
export type WhatToRead = { readonly kind: 'all' } | { readonly kind: 'new'; readonly since: Date };

/** Clocks differ, and what is written becomes visible later than it is dated; an hour of it would do. */
const OVERLAP_MS = 2 * 86_400_000;

/** What a run reads of a rule. A time to come was not noted by an audit. Pure. */
export function readingOf(proved: ProvedRule | undefined, { wholeSince, now }: ProofTimes): WhatToRead {
  const isTrusted = proved !== undefined && proved.wholeAt >= wholeSince && proved.wholeAt <= now;
  if (!isTrusted || proved.provedAt > now) return { kind: 'all' };
  return { kind: 'new', since: new Date(proved.provedAt.getTime() - OVERLAP_MS) };
}

/** Proves rules from where they were proved; with null, all of them wholly, and nothing is noted. */
export class ProvedRules {
  readonly #db: Queryable;
  readonly #marking: ProofTimes | null;
  readonly #proved: ReadonlyMap<string, ProvedRule>;

  private constructor(db: Queryable, marking: ProofTimes | null, proved: readonly ProvedRule[]) {
    this.#db = db;
    this.#marking = marking;
    this.#proved = new Map(proved.map((one) => [one.rule, one]));
  }

  static async read(db: Queryable, marking: ProofTimes | null): Promise<ProvedRules> {
    return new ProvedRules(db, marking, marking === null ? [] : await RULES.all(db));
  }

  readingOf(rule: string): WhatToRead {
    return this.#marking === null ? { kind: 'all' } : readingOf(this.#proved.get(rule), this.#marking);
  }

  /**
   * What a rule says now, and notes how far it was proved.
   * @param rules the rule, and others that are proved with it
   * @param find looks at what is to be read
   */
  async prove(
    rules: readonly [string, ...string[]],
    find: (reading: WhatToRead) => Promise<readonly Disagreement[]>,
  ): Promise<readonly Disagreement[]> {
    const [rule] = rules;
    const reading = this.readingOf(rule);
    const found = await find(reading);
    if (this.#marking === null) return found;
    const { now } = this.#marking;
    if (reading.kind === 'all') {
      await SAVE.run(this.#db, { rule, rules, now, found });
      return found;
    }
    if (found.length === 0) await GO_ON.run(this.#db, { rule, provedAt: now });
    const kept = await KEPT.all(this.#db, { rules });
    const isNew = (old: Disagreement) => found.every((one) => one.rule !== old.rule || one.subject !== old.subject);
    return [...found, ...kept.filter(isNew)];
  }
}

const FINDING = { rule: text, ...FOUND };

const RULES = statement({
  params: {},
  row: { rule: text, wholeAt: timestamptz, provedAt: timestamptz },
  text: () => 'select rule, whole_at, proved_at from audit_rule',
});

/** What is kept fits into the index, whatever alphabet it is in: what an entry moved in a thousand lots does not. The run that found it logs all. */
const KEPT_SUBJECT = 'left(n.subject, 380)';
const KEPT_DETAIL = 'left(n.detail, 250)';

/** In one statement, so that no kill leaves a rule that counts as proved without what was found. */
const SAVE = statement({
  params: { rule: text, rules: array(text), now: timestamptz, found: rowsOf(FINDING) },
  text: ({ rule, rules, now, found }) => `
    with mended as (
      delete from audit_finding f
      where f.rule = any (${rules}) and not exists (
        select from ${found('n')} where n.rule = f.rule and ${KEPT_SUBJECT} = f.subject and ${KEPT_DETAIL} = f.detail)),
    kept as (
      insert into audit_finding (rule, subject, detail, found_at)
      select n.rule, ${KEPT_SUBJECT}, ${KEPT_DETAIL}, ${now} from ${found('n')}
      on conflict do nothing)
    insert into audit_rule (rule, whole_at, proved_at) values (${rule}, ${now}, ${now})
    on conflict (rule) do update set whole_at = excluded.whole_at, proved_at = excluded.proved_at`,
});

const GO_ON = statement({
  params: { rule: text, provedAt: timestamptz },
  text: ({ rule, provedAt }) =>
    `update audit_rule set proved_at = greatest(proved_at, ${provedAt}) where rule = ${rule}`,
});

const KEPT = statement({
  params: { rules: array(text) },
  row: FINDING,
  text: ({ rules }) =>
    `select rule, subject, detail from audit_finding where rule = any (${rules}) order by rule, subject, detail`,
});
