import { z } from 'zod';
import { WALLET_STATUSES, type Wallet } from '../ledger/entry.ts';
import type { StatusChange } from '../ledger/status/status.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const walletStatus = z.enum(WALLET_STATUSES, { error: `wants one of ${WALLET_STATUSES.join(', ')}` });

const EXAMPLE_CHANGE = {
  change_no: 1,
  ...{ status: 'frozen', previous_status: 'active', pause_expiry: false },
  ...{ reason: 'Looks like fraud', actor: `key:${EXAMPLE.apiKeyId}`, created_at: EXAMPLE.time },
} as const;

const EXAMPLE_STATUS = {
  ...{ customer_id: EXAMPLE.customerId, currency: EXAMPLE.currency, status: 'frozen', pause_expiry: false },
  ...{ reason: EXAMPLE_CHANGE.reason, actor: EXAMPLE_CHANGE.actor, changed_at: EXAMPLE.time },
} as const;

const pauseExpiry = z.boolean().meta({ description: 'Whether credit with an end keeps the time it has left.' });
const reason = z.string().nullable();

const statusFields = {
  customer_id: z.string(),
  currency: z.string(),
  status: walletStatus,
  pause_expiry: pauseExpiry,
  reason: reason.meta({ description: 'Why it was changed last; null if it never was, or a payment did.' }),
  actor: z.string().nullable().meta({ description: 'Who changed it: `key:<id>`, `operator`, `service` (a payment).' }),
  changed_at: timestamp.nullable().meta({ description: 'Null: it never was.' }),
};

export const walletStatusShape = z.strictObject(statusFields).meta({ id: 'WalletStatus', examples: [EXAMPLE_STATUS] });

const changeShape = z.strictObject({
  change_no: z.int().min(1),
  status: walletStatus,
  previous_status: walletStatus,
  pause_expiry: pauseExpiry,
  reason,
  actor: z.string(),
  created_at: timestamp,
});

export const walletStatusDetailShape = z
  .strictObject({
    ...statusFields,
    changes: z.array(changeShape).meta({ description: 'The newest 100, newest first.' }),
  })
  .meta({ id: 'WalletStatusDetail', examples: [{ ...EXAMPLE_STATUS, changes: [EXAMPLE_CHANGE] }] });

type WalletState = Pick<Wallet, 'customerId' | 'currency' | 'status'>;

/** @param last the change in force; null if there was none */
export function walletStatusResponse(
  { customerId, currency, status }: WalletState,
  last: StatusChange | null,
): z.output<typeof walletStatusShape> {
  return {
    ...{ customer_id: customerId, currency, status, pause_expiry: last?.pauseExpiry ?? false },
    ...{ reason: last?.reason ?? null, actor: last?.actor ?? null, changed_at: last?.createdAt.toISOString() ?? null },
  };
}

/** @param changes the newest first */
export function walletStatusDetailResponse(
  wallet: WalletState,
  changes: readonly StatusChange[],
): z.output<typeof walletStatusDetailShape> {
  return { ...walletStatusResponse(wallet, changes[0] ?? null), changes: changes.map(changeResponse) };
}

function changeResponse(change: StatusChange): z.output<typeof changeShape> {
  const { changeNo: change_no, newStatus: status, oldStatus: previous_status, pauseExpiry: pause_expiry } = change;
  return {
    ...{ change_no, status, previous_status, pause_expiry },
    ...{ reason: change.reason, actor: change.actor, created_at: change.createdAt.toISOString() },
  };
}
