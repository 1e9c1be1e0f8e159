import { bigint, boolean, hex, integer, json, named, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import type { Waiting } from '../db/merchant-walk.ts';
import { pick, table } from '../db/table.ts';
import type { LotTerms, Metadata } from '../ledger/entry.ts';
import type { GrantSchedule, RefillState } from './grant-schedule.ts';
import type { ScheduledEntry } from './scheduled-entry.ts';

/** The tables of what is to be written at times to come: a row of each is the thing itself. */

export const SCHEDULED_ENTRY = table('scheduled_entry', {
  merchantId: text,
  customerId: text,
  scheduledEntryId: text,
  currency: text,
  amountMinor: named('amount', bigint),
  isCredit: boolean,
  reason: nullable(text),
  referenceObjectId: nullable(text),
  metadata: nullable(json<Metadata>()),
  lotKind: nullable(oneOf<LotTerms['kind']>()),
  lotName: nullable(text),
  lotPriority: nullable(integer),
  lotExpiresAt: nullable(timestamptz),
  lotDays: nullable(integer),
  postAt: timestamptz,
  onShortfall: oneOf<ScheduledEntry['onShortfall']>(),
  idempotencyKey: text,
  fingerprint: hex,
  actor: text,
  state: oneOf<ScheduledEntry['state']>(),
  dueAt: nullable(timestamptz),
  tries: integer,
  entrySeq: nullable(bigint),
  skippedFor: nullable(text),
  createdAt: timestamptz,
  endedAt: nullable(timestamptz),
});

/** What becomes of it. */
export const ENTRY_PROGRESS = pick(
  SCHEDULED_ENTRY.shape,
  'state',
  'dueAt',
  'tries',
  'entrySeq',
  'skippedFor',
  'endedAt',
);

export const GRANT_SCHEDULE = table('grant_schedule', {
  merchantId: text,
  customerId: text,
  currency: text,
  scheduleId: text,
  incarnation: integer,
  amountMinor: named('amount', bigint),
  every: oneOf<GrantSchedule['every']>(),
  anchorAt: timestamptz,
  timeZone: text,
  lotName: nullable(text),
  lotPriority: integer,
  lotDays: nullable(integer),
  charge: boolean,
  endsAt: nullable(timestamptz),
  count: nullable(integer),
  firstPeriod: integer,
  done: integer,
  nextAt: nullable(timestamptz),
  paused: boolean,
  refillPeriod: nullable(integer),
  refillAmount: nullable(bigint),
  refillState: nullable(oneOf<RefillState>()),
  actor: text,
  createdAt: timestamptz,
  updatedAt: timestamptz,
  endedAt: nullable(timestamptz),
});

export const WAITING_ENTRIES: Waiting = { table: 'scheduled_entry', column: 'due_at' };
export const WAITING_GRANTS: Waiting = { table: 'grant_schedule', column: 'next_at' };
