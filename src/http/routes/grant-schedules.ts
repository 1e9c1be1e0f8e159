import { z } from 'zod';
import { requireCustomer } from '../../customers/store.ts';
import { autocommit, type Queryable, transaction } from '../../db/transaction.ts';
import { invariant, refuse } from '../../errors.ts';
import type { GrantSchedule } from '../../schedules/grant-schedule.ts';
import { getSchedule, listSchedules } from '../../schedules/grant-store.ts';
import { endSchedule, MOST_SCHEDULES } from '../../schedules/put-schedule.ts';
import { putAnySchedule } from '../../top-ups/put-schedule.ts';
import { standingOfSchedules } from '../../top-ups/refills.ts';
import { EXAMPLE_SCHEDULE } from '../../views/examples.ts';
import { amount, itemsOf, moment, text, walletParams } from '../../views/fields.ts';
import { every, scheduleResponse, scheduleShape, toWish } from '../../views/grant-schedule.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { lotPriority, termsFields } from './posting.ts';
import { wakeTopUps } from './top-up-rules.ts';

const tag = 'Schedules';
const path = '/customers/{customer_id}/wallets/{currency}/grant-schedules';
const onePath = `${path}/{schedule_id}`;
const scheduleParams = walletParams.extend({ schedule_id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/) });
type ScheduleParams = z.output<typeof scheduleParams>;

const COUNT_ERROR = 'wants a whole number from 1 to 10000';

const put = merchantRoute({
  method: 'put',
  path: onePath,
  scope: 'write',
  tag,
  summary: 'Grant credit at every period of a calendar, or charge for it',
  description:
    'Each period gives the amount once, as promotional credit with these terms. Periods are counted from `anchor_at`, so a month from 31 January is 28 February and then 31 March, by the clocks of `time_zone`. No period is granted that was due before the schedule was made; what was missed later is made up for, twelve periods at most, and the rest told of (`grant.skipped`). Asked again, it changes the amount, the terms and the end from the next period on; `every`, `anchor_at` and `time_zone` stay, until it is deleted and made anew. The id has letters, digits, `_` and `-`. With `charge` nothing is given: each period is paid by the top-up rule of the wallet, which must be enabled, and within its cap, its interval and its consent; of periods that were missed only the newest is charged. What is due and not charged yet is called off by a pause, by `charge` false, and by deleting it.',
  params: scheduleParams,
  body: z
    .strictObject({
      amount,
      every,
      anchor_at: moment.optional().meta({ description: 'Now unless given. It may be past, by 20 years at most.' }),
      time_zone: text(100, 1).optional().meta({ description: 'Such as `Europe/Berlin`. UTC unless given.' }),
      name: termsFields.name,
      priority: lotPriority,
      expires_in_days: termsFields.expires_in_days.meta({
        description: 'Days of 24 hours from when a period is due. It never ends unless given.',
      }),
      charge: z.boolean().optional().meta({
        description:
          'True: the customer is charged for each period by the top-up rule of the wallet. It takes no name, priority and expires_in_days then. False unless given.',
      }),
      ends_at: moment.nullable().optional().meta({ description: 'From then on nothing is granted.' }),
      count: z
        .int({ error: COUNT_ERROR })
        .min(1, { error: COUNT_ERROR })
        .max(10_000, { error: COUNT_ERROR })
        .nullable()
        .optional()
        .meta({ description: 'So many periods in all.' }),
      paused: z
        .boolean()
        .optional()
        .meta({ description: 'What is due meanwhile is not granted, and not made up for.' }),
    })
    .meta({
      examples: [
        {
          ...{ amount: EXAMPLE_SCHEDULE.amount, every: EXAMPLE_SCHEDULE.every, anchor_at: EXAMPLE_SCHEDULE.anchor_at },
          ...{ time_zone: EXAMPLE_SCHEDULE.time_zone, name: EXAMPLE_SCHEDULE.name },
          expires_in_days: EXAMPLE_SCHEDULE.expires_in_days,
        },
        { amount: 2000, every: EXAMPLE_SCHEDULE.every, anchor_at: EXAMPLE_SCHEDULE.anchor_at, charge: true },
      ],
    }),
  response: { description: 'The schedule.', schema: scheduleShape },
  errors: [
    'CUSTOMER_NOT_FOUND',
    'UNSUPPORTED_CURRENCY',
    'CONFLICT',
    'WALLET_CLOSED',
    'LOTS_NOT_YET',
    'CHARGING_NOT_CONFIGURED',
    'MONTHLY_CAP_REACHED',
  ],
  async handle({ services, merchantId, keyId, params, body }) {
    const { pool, settings, clock, sources } = services;
    const wish = toWish(keyOf(merchantId, params), body, `key:${keyId}`);
    const moment = { ...settings, sources, now: clock.now() };
    const shown = await transaction(pool, async (tx) => show(tx, await putAnySchedule(tx, wish, moment)));
    wakeTopUps(services);
    return shown;
  },
});

const list = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: "List a wallet's grant schedules",
  description: `Those that have ended last; there are ${MOST_SCHEDULES} at most.`,
  params: walletParams,
  response: { description: 'All of them.', schema: itemsOf(scheduleShape) },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services: { readers }, merchantId, params: { customer_id: customerId, currency } }) {
    const schedules = await readers.read(merchantId, async (db) => {
      const found = await listSchedules(db, { merchantId, customerId }, { currency, most: MOST_SCHEDULES });
      if (found.length === 0) await requireCustomer(db, merchantId, customerId);
      return standingOfSchedules(db, found);
    });
    return { items: schedules.map(scheduleResponse) };
  },
});

const retrieve = merchantRoute({
  method: 'get',
  path: onePath,
  scope: 'read',
  tag,
  summary: 'Retrieve a grant schedule',
  description: 'With how far it has come.',
  params: scheduleParams,
  response: { description: 'The schedule.', schema: scheduleShape },
  errors: ['SCHEDULE_NOT_FOUND'],
  async handle({ services, merchantId, params }) {
    const db = autocommit(services.pool);
    const schedule = await getSchedule(db, keyOf(merchantId, params));
    return show(db, schedule ?? refuse({ code: 'SCHEDULE_NOT_FOUND' }));
  },
});

const end = merchantRoute({
  method: 'delete',
  path: onePath,
  scope: 'write',
  tag,
  summary: 'End a grant schedule',
  description:
    'What is due is granted before; what was to be charged and is not yet is called off. What was granted stays. Deleted twice is deleted once. A schedule that is made under the id afterwards is another one.',
  params: scheduleParams,
  response: {
    description: 'The schedule.',
    schema: scheduleShape,
    example: { ...EXAMPLE_SCHEDULE, status: 'ended', next_at: null, ended_at: EXAMPLE_SCHEDULE.next_at },
  },
  errors: ['SCHEDULE_NOT_FOUND', 'UNSUPPORTED_CURRENCY', 'LOTS_NOT_YET'],
  async handle({ services: { pool, settings, clock, onPosted }, merchantId, params }) {
    const moment = { ...settings, now: clock.now() };
    const key = keyOf(merchantId, params);
    const shown = await transaction(pool, async (tx) => show(tx, await endSchedule(tx, key, moment)));
    onPosted();
    return shown;
  },
});

async function show(db: Queryable, schedule: GrantSchedule) {
  const [standing] = await standingOfSchedules(db, [schedule]);
  invariant(standing !== undefined, 'a schedule without its standing');
  return scheduleResponse(standing);
}

function keyOf(merchantId: string, { customer_id: customerId, currency, schedule_id: scheduleId }: ScheduleParams) {
  return { merchantId, customerId, currency, scheduleId };
}

export const grantScheduleRoutes: readonly Route[] = [put, list, end, retrieve];
