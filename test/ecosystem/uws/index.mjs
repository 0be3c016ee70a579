export * from '../../../dist/faces/uws.js'
export { default } from '../../../dist/faces/uws.js'
