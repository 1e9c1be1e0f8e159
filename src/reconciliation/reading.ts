import type { Source } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { Listed } from '../providers/shared/api.ts';

/** An object as its provider's adapter reads it. */
export interface Reading {
  readonly listed: Listed;
  readonly eventType: string;
  readonly facts: readonly Fact[];
  /** Set if it moves no money, and only says whose the payments of a group are, or which they are. */
  readonly isNaming?: true;
  /** Why it has no facts. */
  readonly problem: string | null;
}

/** What the provider's adapter reads from a listed object; null if the adapter ignores it, since it moves no money. */
export function read(source: Source, listed: Listed): Reading | null {
  const interpretation = PROVIDERS[source.provider].interpret(listed.body);
  const { eventType, livemode } = interpretation;
  if (livemode !== undefined && livemode !== (source.mode === 'live')) {
    const problem = `the API key is for ${livemode ? 'live' : 'test'} mode, the source is in ${source.mode} mode`;
    return { listed, eventType, facts: [], problem };
  }
  switch (interpretation.kind) {
    case 'ignored':
      return null;
    case 'parked':
      return { listed, eventType, facts: [], problem: `${interpretation.reason}: ${interpretation.detail}` };
    case 'facts': {
      const { facts, naming } = interpretation;
      const isNaming = naming !== undefined || (facts.length > 0 && facts.every(tiesAlone));
      return { listed, eventType, facts, problem: null, ...(isNaming ? { isNaming } : {}) };
    }
  }
}

/** News that says of what group a payment is, and nothing of money. */
function tiesAlone(fact: Fact): boolean {
  return fact.kind === 'payment' && fact.state === 'pending' && fact.amountMinor === null && fact.groupId !== undefined;
}
