import { refuse } from '../../errors.ts';
import type { SvixAnswer } from './account.ts';
import type { SvixFailure } from './answers.ts';
import { describeSvixFailure } from './failures.ts';

/** What a failure of Svix means for the caller of our API. */

/** The result of a call with a body, which Svix may refuse; null if there is nothing of that id. */
export function acceptedBySvix<T>(answer: SvixAnswer<T>): T | null {
  if (answer.ok) return answer.value;
  const { failure } = answer;
  if (failure.kind === 'refused') {
    return refuse('INVALID_REQUEST_BODY', `Svix does not accept this: ${failure.detail}`);
  }
  return failure.kind === 'notFound' ? null : refuseFor(failure);
}

/** The result of a call that says nothing but ids; null if there is nothing of them, or if Svix takes them for no ids. */
export function foundBySvix<T>(answer: SvixAnswer<T>): T | null {
  if (answer.ok) return answer.value;
  const { failure } = answer;
  return failure.kind === 'notFound' || failure.kind === 'refused' ? null : refuseFor(failure);
}

/** A refusal that says who has to do what. */
export function refuseFor(failure: SvixFailure): never {
  switch (failure.kind) {
    case 'conflict':
      return refuse('CONFLICT', 'Svix has this already.');
    case 'rateLimited': {
      const retry_after = failure.retryAfterSeconds;
      return refuse('SERVICE_UNAVAILABLE', `Svix is busy. Try again in ${retry_after} s.`, { retry_after });
    }
    default:
      return refuse('SERVICE_UNAVAILABLE', describeSvixFailure(failure, 'Svix, which keeps the webhook endpoints,'));
  }
}

export function svixUnavailable(): never {
  return refuse('SERVICE_UNAVAILABLE', 'Svix, which keeps the webhook endpoints, cannot be used now. Try again later.');
}
