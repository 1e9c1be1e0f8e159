import type { Source } from '../merchants/source.ts';
import { type EventWork, parkEvent } from './event-work.ts';
import type { LockedEvent } from './events.ts';
import { accountsIn, readStored } from './kept-facts.ts';
import { namesPayer } from './payers.ts';
import { withDecisionTimes } from './reread.ts';
import { namedAnyway } from './unread.ts';

type Reading = Pick<
  EventWork,
  'source' | 'facts' | 'naming' | 'ties' | 'payer' | 'accounts' | 'paymentId' | 'unread' | 'verdict'
>;

/** What an event says, and what becomes of it as far as that follows from its body alone. */
export function readEvent(event: LockedEvent, source: Source | null): Reading {
  const nothing = { source, facts: [], naming: null, ties: [], payer: null, accounts: [], paymentId: null, unread: [] };
  if (source === null) return { ...nothing, verdict: parkEvent('source_missing', event.sourceId) };
  const interpretation = readStored(source.provider, event);
  if (interpretation.kind === 'ignored') {
    const verdict = { state: 'ignored', reason: null, detail: interpretation.reason, effect: null } as const;
    const heard = namesPayer(source, interpretation) ? { payer: interpretation.payer } : {};
    return { ...nothing, ...heard, accounts: accountsIn(source.provider, event), verdict };
  }
  const facts = interpretation.kind === 'facts' ? withDecisionTimes(event, interpretation.facts) : [];
  const paymentId = facts[0]?.paymentId ?? null;
  if (interpretation.livemode !== undefined && interpretation.livemode !== (source.mode === 'live')) {
    const detail = `the event is ${interpretation.livemode ? 'live' : 'test'}, the source is ${source.mode}`;
    return { ...nothing, paymentId, verdict: parkEvent('wrong_mode', detail) };
  }
  switch (interpretation.kind) {
    case 'parked': {
      const { reason, detail } = interpretation;
      return { ...nothing, ...namedAnyway(interpretation), verdict: parkEvent(reason, detail) };
    }
    case 'facts': {
      const accounts = accountsIn(source.provider, event);
      const verdict = { state: 'applied', reason: null, detail: null, effect: event.effect ?? 'none' } as const;
      const { naming = null, ties = [] } = interpretation;
      // What names only a group is found under that, as long as none of its payments is known.
      const named = paymentId ?? ties[0]?.paymentId ?? naming?.groupId ?? null;
      return { source, facts, naming, ties, payer: null, accounts, paymentId: named, unread: [], verdict };
    }
  }
}
