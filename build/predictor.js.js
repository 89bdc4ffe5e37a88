import './main.js.js'
