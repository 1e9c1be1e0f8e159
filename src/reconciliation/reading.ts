import type { Source } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import { PROVIDERS } from '../providers/index.ts';
import type { Listed } from '../providers/shared/api.ts';

/** An object as its provider's adapter reads it. */
export interface Reading {
  readonly listed: Listed;
  readonly eventType: string;
  readonly facts: readonly Fact[];
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
    case 'facts':
      return { listed, eventType, facts: interpretation.facts, problem: null };
  }
}
