module.exports = require('../../../dist/cjs/faces/uws.js')
