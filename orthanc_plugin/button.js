// In Orthanc Explorer: what the M3Bind node found in a study, studies like it, and a search in words.
// Whatever comes from the node or the archive is shown as text, never as markup.
(function () {
  'use strict';

  var root = '../m3bind/';  // Explorer's pages lie under /app/

  function element(name, text) {
    var made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  }

  function percent(value) {
    return typeof value === 'number' ? Math.round(100 * value) + ' %' : '';
  }

  function ask(panel, path, show) {
    var out = panel.querySelector('.m3bind-answer');
    out.textContent = 'Asking\u2026';
    // An answer that a later question has overtaken is not shown.
    var turn = String(Number(out.dataset.turn || '0') + 1);
    out.dataset.turn = turn;
    fetch(root + path, {headers: {Accept: 'application/json'}}).then(function (response) {
      return response.json().then(function (answer) {
        if (!response.ok) throw new Error(answer.detail || 'status ' + response.status);
        return answer;
      });
    }).then(function (answer) {
      if (out.dataset.turn !== turn) return;
      out.textContent = '';
      show(out, answer);
      if (answer.disclaimer) out.appendChild(element('p', answer.disclaimer));
    }).catch(function (error) {
      if (out.dataset.turn === turn) out.textContent = error.message;
    });
  }

  function findings(out, answer) {
    if (answer.reason) out.appendChild(element('p', answer.status + ': ' + answer.reason));
    var list = element('ul');
    (answer.findings || []).forEach(function (one) {
      var side = one.laterality ? ' (' + one.laterality + ')' : '';
      list.appendChild(element('li', one.name + side + ': ' + one.presence + ', ' + percent(one.probability)));
    });
    out.appendChild(list.firstChild ? list : element('p', 'No findings.'));
  }

  function studies(out, answer) {
    (answer.notes || []).forEach(function (note) { out.appendChild(element('p', note)); });
    var list = element('ol');
    (answer.answers || []).forEach(function (one) {
      var line = element('li');
      var words = [one.study_date, one.modality, one.body_part].filter(Boolean).join(' ') || 'study';
      var title = element(one.orthanc_id ? 'a' : 'span', words);
      if (one.orthanc_id) {
        title.href = '#study?uuid=' + encodeURIComponent(one.orthanc_id);
        title.setAttribute('rel', 'external');
        // Explorer shows another study on the same page only after a fresh start.
        title.addEventListener('click', function (event) {
          event.preventDefault();
          event.stopPropagation();
          window.location.hash = title.getAttribute('href');
          window.location.reload();
        });
      } else {
        title.title = 'not in this archive';
      }
      line.appendChild(title);
      var why = (one.why || []).map(function (reason) {
        return reason.name ? reason.name + ' ' + percent(reason.probability) : reason.statement;
      });
      if (typeof one.similarity === 'number') why.unshift('similarity ' + one.similarity.toFixed(2));
      line.appendChild(element('span', (why.length ? ' \u2013 ' : '') + why.join(', ')));
      list.appendChild(line);
    });
    out.appendChild(list.firstChild ? list : element('p', 'No study answers.'));
  }

  function button(panel, text, pressed) {
    var made = element('button', text);
    made.type = 'button';
    made.setAttribute('data-role', 'none');
    made.addEventListener('click', pressed);
    panel.appendChild(made);
  }

  function searching(panel) {
    var form = element('form');
    form.setAttribute('data-ajax', 'false');
    var words = element('input');
    words.type = 'search';
    words.setAttribute('data-role', 'none');
    words.setAttribute('aria-label', 'Question');
    words.placeholder = 'pneumonia, no effusion, women over 60';
    form.appendChild(words);
    form.addEventListener('submit', function (event) {
      event.preventDefault();
      event.stopPropagation();
      ask(panel, 'search?q=' + encodeURIComponent(words.value), studies);
    });
    panel.appendChild(form);
    button(form, 'Search', function () { form.dispatchEvent(new Event('submit', {cancelable: true})); });
  }

  function panelOf(study) {
    var panel = element('div');
    panel.className = 'm3bind-panel';
    panel.appendChild(element('h3', 'M3Bind'));
    searching(panel);
    if (study) {
      button(panel, 'Findings of this study', function () { ask(panel, 'studies/' + study() + '/findings', findings); });
      button(panel, 'Similar studies', function () { ask(panel, 'studies/' + study() + '/similar?limit=20', studies); });
    }
    var out = element('div');
    out.className = 'm3bind-answer';
    out.setAttribute('role', 'status');
    panel.appendChild(out);
    return panel;
  }

  function shown() {
    return encodeURIComponent($.mobile.pageData ? $.mobile.pageData.uuid : '');
  }

  function add(page, study) {
    $(page).live('pagebeforecreate', function () {
      this.querySelector('[data-role=content]').appendChild(panelOf(study));
    });
    // Explorer keeps its pages: the panel of the study before must not stand beside the next one.
    $(page).live('pagebeforeshow', function () {
      var out = this.querySelector('.m3bind-answer');
      if (out) {
        out.dataset.turn = String(Number(out.dataset.turn || '0') + 1);
        out.textContent = '';
      }
    });
  }

  add('#lookup', null);
  add('#study', shown);
})();
