import type { Command } from 'commander';
import { z } from 'zod';
import { SECRET_VARIABLES } from '../config/env.ts';
import type { Secret } from '../crypto/secret.ts';
import { accountsBySource } from '../merchants/account-store.ts';
import {
  addWebhookSecret,
  changeSource,
  createSource,
  findSource,
  removeWebhookSecret,
  sourcesOf,
} from '../merchants/administration.ts';
import { findingsOf } from '../merchants/source-findings.ts';
import { sourcesWithPayments } from '../payments/list.ts';
import {
  CAPTURE_RULES,
  CUSTOMER_LINK_RULES,
  DISPUTE_RULES,
  METADATA_RULES,
  PURPOSES,
  REFUND_POLICIES,
} from '../payments/purpose.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { text } from '../views/fields.ts';
import { configuredResponse, findingResponse, findingText, recordResponse } from '../views/source.ts';
import { addAdoptSourceCommand } from './adopt.ts';
import { addMerchantCommand, flag, takes, UsageError } from './command.ts';
import { table } from './output.ts';
import { readSecret, readWebhookSecret } from './secret-input.ts';
import { shownEnd, shownSource } from './shown-source.ts';
import { id, oneOf } from './values.ts';

const sourceId = takes('<source-id>', 'src_…', id);
const webhookSecretStdin = flag('--webhook-secret-stdin', 'read the webhook secret from standard input');
const apiKeyStdin = flag('--api-key-stdin', "read the key of the provider's API from standard input");
const apiKeyEnv = flag('--api-key-env', `read it from the variable ${SECRET_VARIABLES.api}`);

/** Only when it is asked for: a variable that is still set from the last time must not replace a key. */
async function readApiKey(input: { apiKeyStdin: boolean; apiKeyEnv: boolean }): Promise<Secret | null> {
  if (input.apiKeyStdin && input.apiKeyEnv) throw new UsageError('the API key: wants one place to come from');
  if (!input.apiKeyStdin && !input.apiKeyEnv) return null;
  const secret = await readSecret('api', input.apiKeyStdin);
  if (secret === null) throw new UsageError(`--api-key-env: the variable ${SECRET_VARIABLES.api} is not set`);
  return secret;
}

const WHENCE =
  'Secrets are never arguments, which every user of the machine can see: they come from standard input, or from the ' +
  'variables CHOKIN_WEBHOOK_SECRET and CHOKIN_PROVIDER_API_KEY.';

const settings = {
  defaultPurpose: takes(
    '--default-purpose <purpose>',
    'what a payment is for that does not say: topup (at first), order or none',
    oneOf(PURPOSES).optional(),
  ),
  metadata: takes(
    '--metadata <rule>',
    'which metadata of payments is obeyed: all (at first for Stripe) or customer (at first for all others)',
    oneOf(METADATA_RULES).optional(),
  ),
  refunds: takes(
    '--refunds <policy>',
    'what refunds do: auto (at first), credit, reverse or ignore',
    oneOf(REFUND_POLICIES).optional(),
  ),
  disputes: takes('--disputes <rule>', 'what open ones do: hold (at first) or record', oneOf(DISPUTE_RULES).optional()),
  customers: takes(
    '--customers <rule>',
    'whose a payment is that does not say: create (at first), linked or named',
    oneOf(CUSTOMER_LINK_RULES).optional(),
  ),
  capture: takes(
    '--capture <rule>',
    'whether an authorisation is the money: automatic (at first), or manual, where only captures are (Adyen)',
    oneOf(CAPTURE_RULES).optional(),
  ),
};

const accounts = takes(
  '--accounts <names>',
  "the provider's own names of the accounts it answers for, with commas between them; none are learnt from events then",
  z
    .string()
    .transform((list) => list.split(',').map((one) => one.trim()))
    .pipe(z.array(text(200, 1)).max(100))
    .optional(),
);

/** Provider accounts, by which events come in. */
export function addSourceCommands(group: Command): void {
  addReadingCommands(group);
  addChangingCommands(group);
  addSwitchCommands(group);
  addSecretCommands(group);
  addAdoptSourceCommand(group);
}

const NO_SOURCES = `No sources. Set STRIPE_WEBHOOK_SECRET, or that of another provider, here and where the service runs; or store one:
CHOKIN_WEBHOOK_SECRET=whsec_… npx chokin sources create --provider stripe --name Main`;

/** What makes a source known that payments came in by. */
function whereToSet(missing: string): string {
  const provider = PROVIDER_NAMES.find((name) => missing === `src_${name}`);
  return provider === undefined
    ? `${missing} is not configured any more.`
    : `${missing} is a source of the environment: set ${provider.toUpperCase()}_WEBHOOK_SECRET here as where the service runs.`;
}

function addReadingCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List sources: those of the environment, then the others',
    details:
      'A source of the environment is known where its variables are set. One that payments came in by, but that is neither set here nor stored, is shown as not known here.',
    takes: {},
    async run(_, { admin, db }, { merchantId }) {
      const accounts = await accountsBySource(db, merchantId);
      const configured = admin.sources
        .configured(merchantId)
        .map((one) => configuredResponse(one, accounts.get(one.sourceId) ?? []));
      const items = [...configured, ...(await sourcesOf(db, merchantId)).map(recordResponse)];
      const known = new Set(items.map((one) => one.source_id));
      const strangers = (await sourcesWithPayments(db, merchantId)).filter((id) => !known.has(id));
      const rows = items.map((one) => [
        one.source_id,
        one.provider,
        one.name,
        one.default_purpose,
        one.metadata,
        one.refunds,
        one.secrets.map((secret) => `${secret.purpose} ${shownEnd(secret.hint)}`).join(', '),
        one.accounts.join(', '),
        one.enabled ? 'enabled' : 'disabled',
      ]);
      const unknownRows = strangers.map((id) => [id, null, null, null, null, null, null, null, 'not known here']);
      const header = ['source', 'provider', 'name', 'purpose', 'metadata', 'refunds', 'secrets', 'accounts', 'state'];
      const findings = await findingsOf({ db, sources: admin.sources, box: admin.box }, merchantId);
      const lines = [...strangers.map(whereToSet), ...findings.map(findingText)];
      const advice = lines.length === 0 ? '' : `\n\n${lines.join('\n')}`;
      return {
        json: { items, not_known_here: strangers, findings: findings.map(findingResponse) },
        text: `${table(header, [...rows, ...unknownRows], NO_SOURCES)}${advice}`,
      };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a source, with the ids of its secrets',
    takes: { sourceId },
    async run(input, { admin, db }, { merchantId }) {
      const key = { merchantId, sourceId: input.sourceId };
      const configured = admin.sources.findConfigured(key);
      if (configured === null) return shownSource(recordResponse(await findSource(admin, key)));
      const accounts = await accountsBySource(db, merchantId);
      return shownSource(configuredResponse(configured, accounts.get(input.sourceId) ?? []));
    },
  });
}

function addChangingCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'create',
    summary: 'Add an account at a provider',
    details: `It shows the address for the provider's webhooks. ${WHENCE}`,
    takes: {
      provider: takes('--provider <name>', PROVIDER_NAMES.join(', '), oneOf(PROVIDER_NAMES)),
      name: takes('--name <text>', 'what people call it', text(200, 1)),
      ...settings,
      accounts,
      webhookSecretStdin,
      apiKeyStdin,
      apiKeyEnv,
    },
    async run(input, { admin }, { merchantId }) {
      if (input.webhookSecretStdin && input.apiKeyStdin) {
        throw new UsageError('only one secret can come from standard input; put the other into its variable');
      }
      const source = {
        provider: input.provider,
        name: input.name,
        mode: null,
        enabled: true,
        defaultPurpose: input.defaultPurpose ?? 'topup',
        metadata: input.metadata ?? null,
        refunds: input.refunds ?? 'auto',
        disputes: input.disputes ?? 'hold',
        customerLinkRule: input.customers ?? 'create',
        capture: input.capture ?? 'automatic',
        webhookSecret: await readWebhookSecret(input.webhookSecretStdin),
        apiKey: await readApiKey(input),
        accounts: input.accounts ?? [],
      };
      return shownSource(recordResponse(await createSource(admin, merchantId, source)));
    },
  });

  addMerchantCommand(group, {
    name: 'set',
    summary: 'Change the settings of a source',
    details: `What is not named stays. ${WHENCE}`,
    takes: {
      sourceId,
      name: takes('--name <text>', 'what people call it', text(200, 1).optional()),
      ...settings,
      accounts,
      apiKeyStdin,
      apiKeyEnv,
      removeApiKey: flag('--remove-api-key', "forget the key of the provider's API"),
    },
    async run(input, { admin }, merchant) {
      const { sourceId: wanted, customers, apiKeyStdin: isOnStdin, apiKeyEnv: isInEnv, removeApiKey, ...rest } = input;
      if (removeApiKey && (isOnStdin || isInEnv)) {
        throw new UsageError('--remove-api-key and a new key contradict each other');
      }
      const apiKey = removeApiKey ? null : ((await readApiKey(input)) ?? undefined);
      const change = definedOnly({ ...rest, customerLinkRule: customers, apiKey });
      if (Object.keys(change).length === 0) throw new UsageError('there is nothing to change');
      const key = admin.sources.requireStored({ merchantId: merchant.merchantId, sourceId: wanted });
      return shownSource(recordResponse(await changeSource(admin, key, change)));
    },
  });
}

function addSwitchCommands(group: Command): void {
  for (const [name, summary, enabled] of [
    ['enable', 'Take in the events of a source', true],
    ['disable', 'Turn the deliveries of a source away', false],
  ] as const) {
    addMerchantCommand(group, {
      name,
      summary,
      takes: { sourceId },
      async run(input, { admin }, { merchantId }) {
        const key = admin.sources.requireStored({ merchantId, sourceId: input.sourceId });
        return shownSource(recordResponse(await changeSource(admin, key, { enabled })));
      },
    });
  }
}

function addSecretCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'add-secret',
    summary: 'Add a webhook secret; the others go on to be accepted until they are removed',
    details: WHENCE,
    takes: { sourceId, webhookSecretStdin },
    async run(input, { admin }, { merchantId }) {
      const secret = await readWebhookSecret(input.webhookSecretStdin);
      const key = admin.sources.requireStored({ merchantId, sourceId: input.sourceId });
      return shownSource(recordResponse(await addWebhookSecret(admin, key, secret)));
    },
  });

  addMerchantCommand(group, {
    name: 'remove-secret',
    summary: 'Remove a webhook secret that the provider no longer signs with',
    takes: { sourceId, secretId: takes('<secret-id>', 'sec_…, as "sources show" lists them', id) },
    async run(input, { admin }, { merchantId }) {
      const key = admin.sources.requireStored({ merchantId, sourceId: input.sourceId });
      return shownSource(recordResponse(await removeWebhookSecret(admin, key, input.secretId)));
    },
  });
}

type Defined<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

/** Without what is undefined, which would otherwise replace what is there. */
function definedOnly<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Defined<T>;
}
