import { z } from 'zod';
import { refuse } from '../errors.ts';
import { BASE_PRIORITY } from '../ledger/lots/lot.ts';
import { type GrantSchedule, nextDueAt } from '../schedules/grant-schedule.ts';
import type { ScheduleKey } from '../schedules/grant-store.ts';
import { EVERY } from '../schedules/periods.ts';
import type { ScheduleWish } from '../schedules/put-schedule.ts';
import { EXAMPLE_SCHEDULE } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';

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
    charge: z.literal(false),
    ends_at: timestamp.nullable(),
    count: z.int().nullable(),
    paused: z.boolean(),
    incarnation: z.int().min(1).meta({ description: 'How often a schedule of this id was made.' }),
    next_period: z.int().min(0).meta({ description: 'All before it were granted or skipped.' }),
    next_at: timestamp.nullable().meta({ description: 'When that is due; null where nothing is to come.' }),
    actor: z.string().meta({ description: 'Who made it as it is: `key:` with the id of an API key, or `cli`.' }),
    created_at: timestamp,
    updated_at: timestamp,
    ended_at: timestamp.nullable(),
  })
  .meta({ id: 'GrantSchedule', examples: [EXAMPLE_SCHEDULE] });

/** A schedule as the API shows it; amounts are in minor units. */
export function scheduleResponse(schedule: GrantSchedule): z.output<typeof scheduleShape> {
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
    charge: false,
    ends_at: schedule.endsAt?.toISOString() ?? null,
    count: schedule.count,
    paused: schedule.paused,
    incarnation: schedule.incarnation,
    next_period: schedule.done,
    next_at: nextAt?.toISOString() ?? null,
    actor: schedule.actor,
    created_at: schedule.createdAt.toISOString(),
    updated_at: schedule.updatedAt.toISOString(),
    ended_at: schedule.endedAt?.toISOString() ?? null,
  };
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

/** @throws {RefusalError} INVALID_FIELD for a refill that is to be paid */
export function toWish(key: ScheduleKey, body: PutScheduleRequest, actor: string): ScheduleWish {
  if (body.charge === true) {
    const wants = 'wants false: a refill that is charged is not made by a schedule yet, only credit that is given';
    refuse({ code: 'INVALID_FIELD', field: 'charge', wants });
  }
  const { merchantId, customerId, currency, scheduleId } = key;
  return {
    ...{ merchantId, customerId, currency, scheduleId, actor },
    ...{ amountMinor: body.amount, every: body.every, anchorAt: body.anchor_at ?? null },
    ...{ timeZone: body.time_zone ?? 'UTC', lotName: body.name ?? null },
    ...{ lotPriority: body.priority ?? BASE_PRIORITY, lotDays: body.expires_in_days ?? null },
    ...{ endsAt: body.ends_at ?? null, count: body.count ?? null, paused: body.paused ?? false },
  };
}
