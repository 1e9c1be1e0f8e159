import { z } from 'zod';
import { refuse } from '../errors.ts';
import { BASE_PRIORITY } from '../ledger/lots/lot.ts';
import { type GrantSchedule, nextDueAt, REFILL_STATES } from '../schedules/grant-schedule.ts';
import type { ScheduleKey } from '../schedules/grant-store.ts';
import { EVERY } from '../schedules/periods.ts';
import type { ScheduleWish } from '../schedules/put-schedule.ts';
import { lastRefill } from '../schedules/refill.ts';
import type { ScheduleStanding } from '../top-ups/refills.ts';
import { EXAMPLE_SCHEDULE } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';
import { topUpResponse, topUpShape } from './top-up.ts';

export const every = z.enum(EVERY, { error: `wants one of ${EVERY.join(', ')}` });

export const scheduleShape = z
  .strictObject({
    schedule_id: z.string(),
    business_id: z.string(),
    customer_id: z.string(),
    currency: z.string(),
    status: z.enum(['active', 'paused', 'finished', 'ended']).meta({
      description: 'finished: its last period is past; ended: it was deleted.',
    }),
    amount: minorUnits,
    every,
    anchor_at: timestamp.meta({
      description: 'Period 0. All others are counted from it, by the clocks of `time_zone`.',
    }),
    time_zone: z.string(),
    name: z.string().nullable(),
    priority: z.int(),
    expires_in_days: z.int().nullable().meta({ description: 'Counted from when a period was due.' }),
    charge: z.boolean().meta({
      description: 'Whether each period is paid, by the rule of the wallet, instead of given.',
    }),
    ends_at: timestamp.nullable(),
    count: z.int().nullable(),
    paused: z.boolean(),
    incarnation: z.int().min(1).meta({ description: 'How often a schedule of this id was made.' }),
    next_period: z.int().min(0).meta({ description: 'All before it were granted or skipped.' }),
    next_at: timestamp.nullable().meta({ description: 'When that is due; null where nothing is to come.' }),
    last_refill: z
      .strictObject({
        period: z.int().min(0),
        due_at: timestamp,
        amount: minorUnits,
        status: z.enum(REFILL_STATES).meta({
          description:
            'due: to be charged as soon as the rule of the wallet allows it. tried: a top-up was begun, and another one is if it comes to nothing. done: no other is begun; `topup` says what came of it. skipped: nobody was charged.',
        }),
        topup: topUpShape.nullable().meta({ description: 'The newest that was begun for the period.' }),
      })
      .nullable()
      .meta({ description: 'The newest period that was due while the schedule charged.' }),
    actor: z.string().meta({ description: 'Who made it as it is: `key:` with the id of an API key, or `cli`.' }),
    created_at: timestamp,
    updated_at: timestamp,
    ended_at: timestamp.nullable(),
  })
  .meta({ id: 'GrantSchedule', examples: [EXAMPLE_SCHEDULE] });

/** A schedule as the API shows it; amounts are in minor units. */
export function scheduleResponse({ schedule, topUp }: ScheduleStanding): z.output<typeof scheduleShape> {
  const nextAt = schedule.paused ? null : nextDueAt(schedule);
  return {
    schedule_id: schedule.scheduleId,
    business_id: schedule.merchantId,
    customer_id: schedule.customerId,
    currency: schedule.currency,
    status: statusOf(schedule, nextAt),
    amount: schedule.amountMinor,
    every: schedule.every,
    anchor_at: schedule.anchorAt.toISOString(),
    time_zone: schedule.timeZone,
    name: schedule.lotName,
    priority: schedule.lotPriority,
    expires_in_days: schedule.lotDays,
    charge: schedule.charge,
    ends_at: schedule.endsAt?.toISOString() ?? null,
    count: schedule.count,
    paused: schedule.paused,
    incarnation: schedule.incarnation,
    next_period: schedule.done,
    next_at: nextAt?.toISOString() ?? null,
    last_refill: refillResponse(schedule, topUp),
    actor: schedule.actor,
    created_at: schedule.createdAt.toISOString(),
    updated_at: schedule.updatedAt.toISOString(),
    ended_at: schedule.endedAt?.toISOString() ?? null,
  };
}

function refillResponse(
  schedule: GrantSchedule,
  topUp: ScheduleStanding['topUp'],
): z.output<typeof scheduleShape>['last_refill'] {
  const refill = lastRefill(schedule);
  const { refillState: status } = schedule;
  if (refill === null || status === null) return null;
  const { period, amount, dueAt } = refill;
  return { period, due_at: dueAt.toISOString(), amount, status, topup: topUp === null ? null : topUpResponse(topUp) };
}

function statusOf({ endedAt, paused }: GrantSchedule, nextAt: Date | null): z.output<typeof scheduleShape>['status'] {
  if (endedAt !== null) return 'ended';
  if (paused) return 'paused';
  return nextAt === null ? 'finished' : 'active';
}

/** What a caller wants of a schedule, with the API's names. */
export interface PutScheduleRequest {
  readonly amount: number;
  readonly every: GrantSchedule['every'];
  readonly anchor_at?: Date | undefined;
  readonly time_zone?: string | undefined;
  readonly name?: string | undefined;
  readonly priority?: number | undefined;
  readonly expires_in_days?: number | undefined;
  readonly charge?: boolean | undefined;
  readonly ends_at?: Date | null | undefined;
  readonly count?: number | null | undefined;
  readonly paused?: boolean | undefined;
}

const TERMS = ['name', 'priority', 'expires_in_days'] as const;

/** @throws {RefusalError} INVALID_FIELD for a refill that is to be paid and has terms */
export function toWish(key: ScheduleKey, body: PutScheduleRequest, actor: string): ScheduleWish {
  const charge = body.charge ?? false;
  const given = TERMS.find((field) => body[field] !== undefined);
  if (charge && given !== undefined) {
    refuse({ code: 'INVALID_FIELD', field: given, wants: 'is for credit that is given; what is paid has no terms' });
  }
  const { merchantId, customerId, currency, scheduleId } = key;
  return {
    ...{ merchantId, customerId, currency, scheduleId, actor },
    ...{ amountMinor: body.amount, every: body.every, anchorAt: body.anchor_at ?? null },
    ...{ timeZone: body.time_zone ?? 'UTC', lotName: body.name ?? null },
    ...{ lotPriority: body.priority ?? BASE_PRIORITY, lotDays: body.expires_in_days ?? null, charge },
    ...{ endsAt: body.ends_at ?? null, count: body.count ?? null, paused: body.paused ?? false },
  };
}
