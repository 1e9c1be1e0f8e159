import type { Command } from 'commander';
import { z } from 'zod';
import { createMerchant, guardKeys, suspendMerchant } from '../merchants/administration.ts';
import { KEY_GUARDS } from '../merchants/key-guard/key-guard.ts';
import { listMerchants } from '../merchants/merchant-store.ts';
import { text } from '../views/fields.ts';
import { merchantResponse } from '../views/merchant.ts';
import { addCommand, takes } from './command.ts';
import { properties, table, time } from './output.ts';
import { count, oneOf } from './values.ts';

const merchantId = takes(
  '<merchant-id>',
  'bus_…',
  z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'wants the id of a merchant'),
);
const DEFAULT_LIMIT = 100;

/** Who has customers, wallets and keys here. */
export function addMerchantCommands(group: Command): void {
  addCommand(group, {
    name: 'list',
    summary: 'List merchants, oldest first',
    takes: {
      limit: takes(
        '--limit <count>',
        `how many at most (default: ${DEFAULT_LIMIT})`,
        count(1, 10_000).default(DEFAULT_LIMIT),
      ),
    },
    async run({ limit }, { db }) {
      const items = (await listMerchants(db, { pageSize: limit, pageNumber: 0 })).map(merchantResponse);
      const rows = items.map((one) => [
        one.merchant_id,
        one.name,
        one.mode,
        time(one.created_at),
        one.suspended_at === null ? 'active' : `suspended ${time(one.suspended_at)}`,
      ]);
      return { json: { items }, text: table(['merchant', 'name', 'mode', 'created', 'state'], rows, 'No merchants.') };
    },
  });

  addCommand(group, {
    name: 'create',
    summary: 'Create a merchant',
    details:
      'Its mode is for good: wallets hold play money or real money. Create its first key with "npx chokin keys create --merchant <merchant-id> --name <text> --scopes read,write".',
    takes: {
      name: takes('<name>', 'what people call it', text(200, 1)),
      mode: takes('--mode <mode>', 'test or live', oneOf(['test', 'live'])),
      id: takes('--id <merchant-id>', 'an id of your own (default: a new one)', merchantId.schema.optional()),
    },
    async run({ id, name, mode }, { admin }) {
      return shown(merchantResponse(await createMerchant(admin, { merchantId: id ?? null, name, mode })));
    },
  });

  addCommand(group, {
    name: 'key-guard',
    summary: 'Say what is done about idempotency keys that hold the time',
    details: 'off: nothing; flag: a warning; refuse: such requests are refused. It takes effect within ten seconds.',
    takes: { merchantId, mode: takes('<mode>', KEY_GUARDS.join(', '), oneOf(KEY_GUARDS)) },
    async run(input, { admin }) {
      return shown(merchantResponse(await guardKeys(admin, input.merchantId, input.mode)));
    },
  });

  for (const [name, summary, isSuspended] of [
    ['suspend', "Refuse a merchant's keys for now; its providers' events are still taken in", true],
    ['resume', 'End the suspension of a merchant', false],
  ] as const) {
    addCommand(group, {
      name,
      summary,
      details: 'It takes effect within ten seconds.',
      takes: { merchantId },
      async run(input, { admin }) {
        return shown(merchantResponse(await suspendMerchant(admin, input.merchantId, isSuspended)));
      },
    });
  }
}

function shown(one: ReturnType<typeof merchantResponse>) {
  return {
    json: one,
    text: properties({
      merchant: one.merchant_id,
      name: one.name,
      mode: one.mode,
      created: time(one.created_at),
      suspended: time(one.suspended_at),
      'key guard': one.key_guard,
    }),
  };
}
