import { z } from 'zod';
import { availableOf, WALLET_STATUSES, type Wallet } from '../ledger/entry.ts';
import { headOf } from '../ledger/hash-chain.ts';
import type { NextExpiry } from '../ledger/lots/read.ts';
import { usdTotal } from '../ledger/usd-total.ts';
import type { Rate } from '../money.ts';
import { EXAMPLE_WALLET } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';

/** Dodo Payments' CustomerWallet, and our own `held`, `available`, `status` and `head`. */
export const walletShape = z
  .strictObject({
    customer_id: z.string(),
    currency: z.string(),
    balance: minorUnits.meta({
      description: 'Minor units. Negative: a debt left by a refund or dispute of spent credit.',
    }),
    held: minorUnits.meta({ description: 'Minor units that open holds set aside. They are part of the balance.' }),
    available: minorUnits.meta({
      description:
        'Minor units that a debit or a new hold may take: the balance without what is held, and never below 0.',
    }),
    status: z.enum(WALLET_STATUSES).meta({
      description:
        '`frozen`: nothing is taken out of it or set aside. `closed`: it is empty, and nothing is posted but what payments do.',
    }),
    head: z.string().nullable().meta({
      description:
        'The hash of the newest entry, which stands for the whole history; null before the first entry, and after one of an older release.',
    }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'CustomerWallet', examples: [EXAMPLE_WALLET] });

/** A wallet as the API shows it; the balance is in minor units. */
export function walletResponse(wallet: Wallet): z.output<typeof walletShape> {
  return {
    customer_id: wallet.customerId,
    currency: wallet.currency,
    balance: wallet.balance,
    held: wallet.held,
    available: availableOf(wallet),
    status: wallet.status,
    head: headOf(wallet),
    created_at: wallet.createdAt.toISOString(),
    updated_at: wallet.updatedAt.toISOString(),
  };
}

export const walletLotFields = {
  base: minorUnits.optional().meta({ description: 'What of the balance is in no lot.' }),
  in_lots: minorUnits.optional().meta({ description: 'What is left of all open lots.' }),
  next_expiry: z
    .strictObject({ at: timestamp, amount: minorUnits })
    .nullable()
    .optional()
    .meta({ description: 'When credit ends next unless it is spent, and how much. Null: none does.' }),
};

/** What of a wallet's balance has terms of its own, and when of that ends next. */
export function walletLots({ balance, inLots }: Wallet, next: NextExpiry | null) {
  const next_expiry = next === null ? null : { at: next.at.toISOString(), amount: next.amountMinor };
  return { base: balance - inLots, in_lots: inLots, next_expiry };
}

export const walletListShape = z.strictObject({
  items: z.array(walletShape),
  total_balance_usd: z.number().meta({ description: 'US cents, at the rates the operator set; rounded once.' }),
  unconverted_currencies: z.array(z.string()).optional().meta({
    description: 'Currencies without a rate, whose wallets the total leaves out. Absent if there are none.',
  }),
});

/** A customer's wallets with their total. @param rates dollars for one unit of a currency */
export function walletListResponse(
  wallets: readonly Wallet[],
  rates: ReadonlyMap<string, Rate>,
): z.output<typeof walletListShape> {
  const { totalMinor, unconverted } = usdTotal(wallets, rates);
  const left = unconverted.length === 0 ? {} : { unconverted_currencies: [...unconverted] };
  return { items: wallets.map(walletResponse), total_balance_usd: totalMinor, ...left };
}
