import type { Command } from 'commander';
import { z } from 'zod';
import { refuseUnknownCustomer } from '../customers/store.ts';
import { refuse } from '../errors.ts';
import type { WalletStatus } from '../ledger/entry.ts';
import { statusChangesOf } from '../ledger/status/read.ts';
import { formatMinor } from '../money.ts';
import { currency, text } from '../views/fields.ts';
import { walletStatusDetailResponse, walletStatusResponse } from '../views/wallet-status.ts';
import { addMerchantCommand, type Result, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { properties, table, time } from './output.ts';
import { settledWallets } from './settled.ts';

const wallet = {
  customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
  currency: takes('<currency>', 'such as USD', currency),
};
const change = { ...wallet, reason: takes('--reason <text>', 'why; it stands on the change', text(1000, 1)) };

/** What may happen in a wallet, by hand. */
export function addStatusCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'freeze',
    summary: 'Let nothing be taken out of a wallet or set aside',
    details: 'What was held before can be captured, and payments, refunds and disputes do what they always do.',
    takes: {
      ...change,
      pauseExpiry: takes('--pause-expiry', 'credit with an end keeps the time it has left', z.boolean().optional()),
    },
    run: ({ pauseExpiry = null, ...asked }, context, { merchantId }) =>
      set(context, { ...asked, merchantId, status: 'frozen', pauseExpiry }),
  });

  addMerchantCommand(group, {
    name: 'unfreeze',
    summary: 'Make a wallet active again that is frozen or closed',
    takes: change,
    run: (asked, context, { merchantId }) => set(context, { ...asked, merchantId, status: 'active' }),
  });

  addMerchantCommand(group, {
    name: 'close',
    summary: 'Close a wallet that is empty',
    details: 'A payment that comes later is posted, and the wallet is frozen then.',
    takes: change,
    run: (asked, context, { merchantId }) => set(context, { ...asked, merchantId, status: 'closed' }),
  });

  addMerchantCommand(group, {
    name: 'status',
    summary: 'Show what may happen in a wallet, and who changed that',
    takes: wallet,
    async run(input, context, { merchantId }) {
      const wallets = await settledWallets(context, { merchantId, customerId: input.customerId });
      if (wallets.length === 0) refuseUnknownCustomer(input.customerId);
      const supported = wallets.map((one) => one.currency);
      const found = wallets.find((one) => one.currency === input.currency);
      if (found === undefined) return refuse({ code: 'UNSUPPORTED_CURRENCY', currency: input.currency, supported });
      const detail = walletStatusDetailResponse(found, await statusChangesOf(context.db, found));
      const { changes, ...now } = detail;
      const rows = changes.map((one) => [
        ...[time(one.created_at), one.status, one.pause_expiry ? 'expiry paused' : null, one.actor, one.reason],
      ]);
      const list = table(['changed', 'to', '', 'by', 'reason'], rows, 'It was never changed.');
      return { json: detail, text: `${shown(now).text}\n\n${list}` };
    },
  });
}

interface Asked {
  readonly merchantId: string;
  readonly customerId: string;
  readonly currency: string;
  readonly status: WalletStatus;
  readonly reason: string;
  readonly pauseExpiry?: boolean | null;
}

async function set(context: CliContext, { pauseExpiry = null, ...asked }: Asked): Promise<Result> {
  const ledger = await context.ledger();
  const result = await ledger.setStatus({ op: 'change_status', ...asked, pauseExpiry, actor: 'operator' });
  if (result.kind !== 'refused') return shown(walletStatusResponse(result.wallet, result.last));
  const { refusal } = result;
  if (refusal.code !== 'WALLET_NOT_EMPTY') return refuse(refusal);
  const { left, openHolds, checkouts, topUps } = refusal;
  const open = [
    ...(openHolds === 0 ? [] : [` ${openHolds} holds are open.`]),
    ...(checkouts === 0 ? [] : [` ${checkouts} checkouts are open.`]),
    ...(topUps === 0 ? [] : [` ${topUps} top-ups are under way.`]),
  ];
  return giveUp(
    `A wallet that is to be closed has to be empty: ${formatMinor(left, asked.currency)} is left.${open.join('')}`,
  );
}

function shown(one: ReturnType<typeof walletStatusResponse>): Result {
  const facts = properties({
    ...{ wallet: `${one.customer_id} ${one.currency}`, status: one.status },
    ...{ expiry: one.pause_expiry ? 'paused' : null, since: time(one.changed_at), by: one.actor, reason: one.reason },
  });
  return { json: one, text: facts };
}
