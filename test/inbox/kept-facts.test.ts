import { describe, expect, it } from 'vitest';
import { type KeptFacts, readStored } from '../../src/inbox/kept-facts.ts';

/** What is kept of an event whose body is gone is read as its body was. */

const AT = '2026-01-31T12:00:00.000Z';
const customer = { id: null, email: null, name: null };
const body = Buffer.alloc(0);

describe('what is kept of an event', () => {
  it('has its times again, where it had any', () => {
    const facts: KeptFacts['facts'] = [
      {
        ...{ kind: 'payment', paymentId: 'pi_1', state: 'failed', amountMinor: null, currency: 'USD', customer },
        ...{ metadata: {}, occurredAt: AT, triedAt: AT },
      },
      {
        ...{ kind: 'payment', paymentId: 'pi_2', state: 'failed', amountMinor: null, currency: 'USD', customer },
        ...{ metadata: {}, occurredAt: null, triedAt: null },
      },
    ];
    expect(readStored('stripe', { body, facts: { facts, naming: null, ties: [], accounts: [] } })).toMatchObject({
      kind: 'facts',
      facts: [
        { occurredAt: new Date(AT), triedAt: new Date(AT) },
        { occurredAt: null, triedAt: null },
      ],
    });
  });

  it('has the time of what names somebody, and of when a dispute was opened', () => {
    const facts: KeptFacts['facts'] = [
      {
        ...{ kind: 'dispute', paymentId: 'pi_1', disputeId: 'du_1', state: 'open', amountMinor: 5, currency: 'USD' },
        ...{ customer, metadata: {}, occurredAt: AT, openedAt: AT },
      },
    ];
    const naming: KeptFacts['naming'] = {
      groupId: 'sub_1',
      named: { customerId: 'cus_1', by: 'subscription' },
      customer,
      occurredAt: AT,
    };
    expect(readStored('stripe', { body, facts: { facts, naming, ties: [], accounts: [] } })).toMatchObject({
      naming: { groupId: 'sub_1', occurredAt: new Date(AT) },
      facts: [{ openedAt: new Date(AT) }],
    });
  });
});
