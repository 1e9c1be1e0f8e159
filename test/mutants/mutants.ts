// biome-ignore-all lint/suspicious/noTemplateCurlyInString: pieces of code in quotes, which may hold templates.

/** One deliberate mistake, and the tests that must notice it. */
export interface Mutant {
  /** What a careless change would have done. */
  readonly name: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  readonly tests: readonly string[];
}

/** Mistakes that lose, double or leak money or say who may see it; each was made somewhere, by somebody. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'drop the unique key of entries',
    file: 'migrations/0002_ledger.sql',
    find: '  constraint entry_idempotency_key unique (merchant_id, customer_id, idempotency_key),\n',
    replace: '',
    tests: ['test/faults/f31-same-key.test.ts'],
  },
  {
    name: 'skip the row lock of the wallets',
    file: 'src/ledger/store.ts',
    find: 'for update of w`',
    replace: '`',
    tests: ['test/faults/f28-racing-debits.test.ts'],
  },
  {
    name: 'skip the row lock of the payments',
    file: 'src/payments/store.ts',
    find: 'for update of p`',
    replace: '`',
    tests: ['test/integration/payment-store.test.ts'],
  },
  {
    name: 'acknowledge a delivery before its commit',
    file: 'src/inbox/receive.ts',
    find: "    return this.#lane.submit({\n      eventId: newId('event'),",
    replace:
      "    const early = (event: NewEvent): Receipt => {\n      this.#lane.submit(event).catch(() => {});\n      return { kind: 'stored', eventId: event.eventId, state: event.state };\n    };\n    return early({\n      eventId: newId('event'),",
    tests: [
      'test/http/provider-events.test.ts',
      'test/http/service.test.ts',
      'test/faults/f07-postgres-restart.test.ts',
    ],
  },
  {
    name: 'ignore the commit tag',
    file: 'src/db/transaction.ts',
    find: "if (command !== 'COMMIT') throw",
    replace: "if (command === 'NEVER') throw",
    tests: ['test/faults/f12-swallowed-error.test.ts'],
  },
  {
    name: 'compare signatures on the parsed JSON',
    file: 'src/providers/stripe.ts',
    find: 'return SIGNATURE.verifyHeader(rawBody, header,',
    replace: 'return SIGNATURE.verifyHeader(JSON.stringify(JSON.parse(rawBody.toString())), header,',
    tests: ['test/security/signatures.test.ts'],
  },
  {
    name: 'forget the merchant when an event is read',
    file: 'src/inbox/events.ts',
    find: '`select ${COLUMNS} from provider_event where merchant_id = $1 and event_id = $2`',
    replace: '`select ${COLUMNS} from provider_event where $1::text is not null and event_id = $2`',
    tests: ['test/security/other-merchants.test.ts'],
  },
  {
    name: 'forget the merchant when a reconciliation is read',
    file: 'src/reconciliation/store.ts',
    find: '`select ${COLUMNS} from reconciliation r where merchant_id = $1 and run_id = $2`',
    replace: '`select ${COLUMNS} from reconciliation r where $1::text is not null and run_id = $2`',
    tests: ['test/security/other-merchants.test.ts'],
  },
  {
    name: 'complete the jobs outside of the transaction',
    file: 'src/inbox/apply.ts',
    find: "  await completeJobs(services.boss, tx, 'apply-provider-event', jobs);\n",
    replace: '',
    tests: ['test/faults/f05-worker-frozen.test.ts'],
  },
  {
    name: 'let a debit overdraw the wallet',
    file: 'src/ledger/post.ts',
    find: 'if (after < 0 && !isCredit && !MAY_OVERDRAW.has(eventType))',
    replace: 'if (after < -1 && !isCredit && !MAY_OVERDRAW.has(eventType))',
    tests: ['test/unit/post.test.ts'],
  },
  {
    name: 'take the same key with other input for a repetition',
    file: 'src/ledger/post.ts',
    find: 'if (entry.fingerprint === fingerprint(posting))',
    replace: 'if (entry.fingerprint !== null)',
    tests: ['test/unit/post.test.ts'],
  },
  {
    name: 'credit refunds beyond what was paid',
    file: 'src/payments/settle.ts',
    find: 'const amount = Math.min(part.amountMinor ?? paid, undoable - undone);',
    replace: 'const amount = part.amountMinor ?? paid;',
    tests: ['test/unit/settle.test.ts'],
  },
  {
    name: 'let a late success revive a refund that failed',
    file: 'src/payments/payment.ts',
    find: 'succeeded: 2, lost: 2, failed: 3, won: 3 }',
    replace: 'succeeded: 3, lost: 2, failed: 2, won: 3 }',
    tests: ['test/unit/payment.test.ts', 'test/unit/settle.test.ts'],
  },
  {
    name: 'credit an early refund without waiting for its payment',
    file: 'src/inbox/evaluate.ts',
    find: 'if (!input.waitIsOver) return',
    replace: 'if (input.waitIsOver) return',
    tests: ['test/unit/evaluate.test.ts'],
  },
  {
    name: 'leave the source out of the ledger’s keys',
    file: 'src/inbox/settle-facts.ts',
    find: 'idempotencyKey: `${payment.sourceId}:${posting.key}`,',
    replace: 'idempotencyKey: posting.key,',
    tests: ['test/integration/inbox.test.ts'],
  },
  {
    name: 'obey amounts and purposes that payers can write',
    file: 'src/config-sources.ts',
    find: "return WRITTEN_BY_THE_MERCHANT.has(provider) ? 'all' : 'customer';",
    replace: "return WRITTEN_BY_THE_MERCHANT.has(provider) ? 'all' : 'all';",
    tests: ['test/security/payer-metadata.test.ts'],
  },
  {
    name: 'decide anew what a payment is for when its success is told again',
    file: 'src/payments/intent.ts',
    find: 'return purpose === null ? readIntent(fact.metadata, rules) : { purpose, creditAmount };',
    replace: 'return readIntent(fact.metadata, rules);',
    tests: ['test/integration/metadata-upgrade.test.ts'],
  },
  {
    name: 'give a repeated announcement another id',
    file: 'src/announcements/messages.ts',
    find: "update(identity.join('\\0'))",
    replace: "update(identity.join('\\0') + Math.random())",
    tests: ['test/unit/announcements.test.ts'],
  },
  {
    name: 'mark a wallet as announced before it is sent',
    file: 'src/announcements/announce.ts',
    find: "      if (sent.kind !== 'sent') return sent;\n",
    replace: '',
    tests: ['test/integration/announcements.test.ts'],
  },
  {
    name: 'call private addresses of endpoints',
    file: 'src/announcements/addresses.ts',
    find: "if (parsed.range() !== 'unicast') return false;",
    replace: "if (parsed.range() === 'loopback') return false;",
    tests: ['test/security/ssrf.test.ts'],
  },
  {
    name: 'accept old signatures',
    file: 'src/signature.ts',
    find: 'if (ageSeconds > TOLERANCE_SECONDS)',
    replace: 'if (ageSeconds > 100 * TOLERANCE_SECONDS)',
    tests: ['test/security/standard-webhooks.test.ts', 'test/security/signatures.test.ts'],
  },
  {
    name: 'seal secrets without binding them to their place',
    file: 'src/secret-box.ts',
    find: 'decipher.setAAD(Buffer.from(place));',
    replace: '',
    tests: ['test/unit/secret-box.test.ts'],
  },
  {
    name: 'let a suspended merchant’s keys pass',
    file: 'src/http/auth.ts',
    find: "if (caller.isSuspended) refuse('FORBIDDEN', 'This merchant is suspended.');",
    replace: '',
    tests: ['test/http/admin-merchants.test.ts'],
  },
  {
    name: 'say that what a provider has was never missing',
    file: 'src/reconciliation/compare.ts',
    find: 'if (payment === null) return MISSING;',
    replace: 'if (payment === null) return NOTHING;',
    tests: ['test/unit/compare.test.ts'],
  },
  {
    name: 'let two processes work on one reconciliation',
    file: 'src/reconciliation/store.ts',
    find: "and leased_by = $3 and state = 'running'`,\n    [merchantId, runId, by, step",
    replace: "and $3::text is not null and state = 'running'`,\n    [merchantId, runId, by, step",
    tests: ['test/integration/reconciliation-races.test.ts'],
  },
  {
    name: 'overlook a wallet that nobody was told of',
    file: 'src/ledger/audit.ts',
    find: 'where (w.announced_version < w.version or',
    replace: 'where (w.announced_version > w.version or',
    tests: ['test/integration/audit.test.ts'],
  },
];
