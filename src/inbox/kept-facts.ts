import type { Fact, Naming, Tie } from '../payments/fact.ts';
import { PROVIDERS } from '../providers/index.ts';
import { accountsOf } from '../providers/shared/account.ts';
import type { EventReading } from '../providers/shared/event-reading.ts';
import type { ProviderName } from '../providers/shared/names.ts';

/**
 * What stays of an applied event once its body is gone: what the body told, without the names and addresses of whoever paid.
 * From then on the event is read, applied again and audited by this.
 */

/** A value as JSON has it: times become text. */
type InJson<Value> = Value extends Date
  ? string
  : Value extends readonly (infer Item)[]
    ? readonly InJson<Item>[]
    : Value extends object
      ? { readonly [Name in keyof Value]: InJson<Value[Name]> }
      : Value;

interface Kept {
  readonly facts: readonly Fact[];
  readonly naming: Naming | null;
  readonly ties: readonly Tie[];
  /** The accounts at the provider that the body named. */
  readonly accounts: readonly string[];
}

export type KeptFacts = InJson<Kept>;

/** {@link Kept}, in the form that is stored. */
const inJson = (kept: Kept): KeptFacts => JSON.parse(JSON.stringify(kept));

/** Kept of an event of which nothing could be read, and that was not applied. */
export const NOTHING_KEPT: KeptFacts = { facts: [], naming: null, ties: [], accounts: [] };

/** An event as it is stored: with its body, or with what is kept of it. */
export interface StoredBody {
  readonly body: Buffer;
  /** Null while the body is there. */
  readonly facts: KeptFacts | null;
}

/** What an event says, read from its body or, if that is gone, from what is kept. */
export function readStored(provider: ProviderName, { body, facts: kept }: StoredBody): EventReading {
  if (kept === null) return PROVIDERS[provider].interpret(body);
  const facts = kept.facts.map(revive);
  const naming = kept.naming === null ? {} : { naming: { ...kept.naming, occurredAt: time(kept.naming.occurredAt) } };
  return { kind: 'facts', facts, ties: kept.ties, ...naming };
}

/** The accounts at the provider that an event names. */
export function accountsIn(provider: ProviderName, { body, facts: kept }: StoredBody): readonly string[] {
  return kept === null ? accountsOf(provider, body) : kept.accounts;
}

interface KeptReading {
  readonly facts: readonly Fact[];
  readonly naming?: Naming;
  readonly ties?: readonly Tie[];
}

/**
 * What is to be kept of an event.
 * @param payers `named`: the provider's ids of its customers stay, by which a link can be explained; `nobody`: not even those
 * @returns null if nothing was read of it, so that its body has to stay
 */
export function toKeep(
  provider: ProviderName,
  event: StoredBody & { readonly state: string },
  payers: 'named' | 'nobody',
): KeptFacts | null {
  const reading = readStored(provider, event);
  // What was dismissed closes what could be read of it, and may be resolved later.
  const partial = reading.kind === 'parked' && event.state === 'dismissed' ? reading.facts : undefined;
  if (reading.kind !== 'facts' && partial === undefined) return null;
  const { facts, naming, ties }: KeptReading = reading.kind === 'facts' ? reading : { facts: partial ?? [] };
  const nameless = <One extends Fact | Naming>(one: One): One =>
    'customer' in one
      ? { ...one, customer: { id: payers === 'named' ? one.customer.id : null, email: null, name: null } }
      : one;
  return inJson({
    facts: facts.map(nameless),
    naming: naming === undefined ? null : nameless(naming),
    ties: ties ?? [],
    accounts: accountsIn(provider, event),
  });
}

function revive(fact: InJson<Fact>): Fact {
  const occurredAt = time(fact.occurredAt);
  switch (fact.kind) {
    case 'payment': {
      const { triedAt, ...rest } = fact;
      return { ...rest, occurredAt, ...(triedAt === undefined ? {} : { triedAt: time(triedAt) }) };
    }
    case 'dispute': {
      const { openedAt, ...rest } = fact;
      return { ...rest, occurredAt, ...(openedAt === undefined ? {} : { openedAt: time(openedAt) }) };
    }
    case 'refund':
    case 'movement':
      return { ...fact, occurredAt };
  }
}

function time(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
